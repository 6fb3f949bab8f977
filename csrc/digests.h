/* digests -- MD5 and SHA-256 of a few bytes, for placements that others have defined by them.
 *
 * Only to place keys as other systems do: no secret is kept and nothing is signed here. Nothing allocates;
 * with size 0, `bytes` is not looked at.
 * Source: RFC 1321; FIPS 180-4. */
#ifndef PS_DIGESTS_H
#define PS_DIGESTS_H

#include <stddef.h>
#include <stdint.h>

void ps_md5(const uint8_t *bytes, size_t size, uint8_t digest[16]);

void ps_sha256(const uint8_t *bytes, size_t size, uint8_t digest[32]);

#endif
