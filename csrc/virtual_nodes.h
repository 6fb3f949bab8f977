/* virtual_nodes -- where on the hash circle the points of a node stand.
 *
 * A node has many points, so that the arcs before them sum to an even share. Where they stand is a contract,
 * frozen as the hashes are:
 *
 *     replicas: point i is the hash of "NAME:replica_i", as the ring of the textbooks has it;
 *     ketama:   MD5 of "NAME-i" gives one point, its first 4 bytes, little-endian, or four, each of 4 bytes.
 *               In NAME the port 11211 is left out. This is where libmemcached places a server, without and
 *               with weights.
 *
 * A hash of fewer than 64 bits stands in the highest bits of a point. Nothing here allocates.
 * Source: libmemcached 1.1.4, hosts.cc. */
#ifndef PS_VIRTUAL_NODES_H
#define PS_VIRTUAL_NODES_H

#include <stddef.h>
#include <stdint.h>

#include "key_hash.h"

#define PS_NAME_MAX 1024 /* bytes of a name */

/* Writes points 0 to count - 1 of the node `name`, of size <= PS_NAME_MAX; count < 2^32. */
void ps_replica_points(const ps_key_hash *hash, const char *name, size_t size, size_t count, uint64_t *points);

/* Likewise, `each` (1 or 4) of a digest; `count` is a multiple of it. */
void ps_ketama_points(const char *name, size_t size, size_t each, size_t count, uint64_t *points);

#endif
