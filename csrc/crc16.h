/* crc16 -- CRC-16/XMODEM, and the slot of a key in a Redis Cluster.
 *
 * With size 0, `bytes` is not looked at. Source: Redis Cluster specification, appendix A. */
#ifndef PS_CRC16_H
#define PS_CRC16_H

#include <stddef.h>
#include <stdint.h>

#define PS_REDIS_SLOTS 16384

uint16_t ps_crc16(const uint8_t *bytes, size_t size);

/* 0 to PS_REDIS_SLOTS - 1. Only what stands between the first { and the next } counts, if anything does:
 * keys with equal tags share a slot. */
uint16_t ps_redis_slot(const uint8_t *bytes, size_t size);

#endif
