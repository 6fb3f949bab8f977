/* crc32 -- the CRC-32 of zlib, gzip, PNG and Ethernet: reflected, polynomial 0x04c11db7.
 *
 *     crc = ps_crc32(0, head, head_size);
 *     crc = ps_crc32(crc, rest, rest_size);    the same as of both in one piece
 *
 * Finds torn and damaged bytes; anyone can make bytes that fit a sum. With size 0, `bytes` is not looked at.
 * Sources: RFC 1952, 8; Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ, Intel, 2009;
 * Kounavis and Berry, A Systematic Approach to Building High Performance CRC Generators, 2005 (slicing). */
#ifndef PS_CRC32_H
#define PS_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* The sum of the bytes that `crc` is the sum of, followed by these; 0 is the sum of none. */
uint32_t ps_crc32(uint32_t crc, const uint8_t *bytes, size_t size);

/* The same by tables alone, as it goes where the processor does not multiply without carries; for tests. */
uint32_t ps_crc32_sliced(uint32_t crc, const uint8_t *bytes, size_t size);

#endif
