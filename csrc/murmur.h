/* murmur -- the MurmurHash functions by which Kafka, Cassandra and others place keys.
 *
 * All read bytes in little-endian order, at any address; with size 0, `bytes` is not looked at.
 * Source: A. Appleby, smhasher; the clients of Kafka and Cassandra for where theirs differ. */
#ifndef PS_MURMUR_H
#define PS_MURMUR_H

#include <stddef.h>
#include <stdint.h>

/* MurmurHash3_x86_32. */
uint32_t ps_murmur3_32(const uint8_t *bytes, size_t size, uint32_t seed);

/* MurmurHash2, 32 bits. Kafka's partitioner takes seed 0x9747b28c and the lower 31 bits. */
uint32_t ps_murmur2(const uint8_t *bytes, size_t size, uint32_t seed);

/* The first half of MurmurHash3_x64_128 with seed 0 as Cassandra computes it: in the last size % 16 bytes
 * it takes each as a signed number. Equal to the common function while no byte there is above 0x7f. */
uint64_t ps_murmur3_cassandra(const uint8_t *bytes, size_t size);

#endif
