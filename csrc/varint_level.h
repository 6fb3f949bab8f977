/* varint_level -- what a batch of varints spends its time in, once for each level of a processor.
 *
 * varint.c alone includes it, once a level: so there is no guard. Before, it defines
 *     LEVEL(name)      the name of a function at this level
 *     LEVEL_TARGET     what lets the compiler use the instructions of the level
 * and the functions at this level
 *     mask32(at)       a bit for each of 32 bytes: its bit 7
 *     join(at, last)   the varint of last + 1 bytes, where ten can be read; of more than ten some number
 *     split(value)     56 bits moved apart to eight bytes of 7 */

/* Counts the bytes of at[size] that have bit 7 set. False when ten of them stand in a row: then `bad` is
 * where the first ten begin.
 *
 * A window of 64 bits holds a block and the one before it, so a row is seen in the block where it gets too
 * long. */
LEVEL_TARGET static bool LEVEL(count)(const uint8_t *at, size_t size, size_t *count, size_t *bad)
{
    size_t found = 0;
    uint64_t window = 0;
    for (size_t done = 0; done < size; done += 32) {
        uint32_t mask = size - done >= 32 ? LEVEL(mask32)(at + done) : rest_mask32(at + done, size - done);
        found += (size_t)__builtin_popcount(mask);
        window = window >> 32 | (uint64_t)mask << 32;
        uint64_t twos = window & window << 1, fours = twos & twos << 2, eights = fours & fours << 4;
        uint64_t tens = eights & twos << 8; /* a bit where the tenth of a row stands */
        if (tens != 0) {
            *bad = done + (size_t)__builtin_ctzll(tens) - 32 - 9;
            return false;
        }
    }
    *count = found;
    return true;
}

/* Reads varints into words[room] while there are a whole block of bytes and room for all that end in it;
 * returns how many, and moves `from` behind them. */
LEVEL_TARGET static size_t LEVEL(read)(const uint8_t **from, const uint8_t *end, uint64_t *words, size_t room)
{
    const uint8_t *at = *from;
    size_t n = 0;
    while (end - at >= BLOCK + PS_VARINT_MOST) {
        uint64_t stops = ~(LEVEL(mask32)(at) | (uint64_t)LEVEL(mask32)(at + 32) << 32);
        size_t found = (size_t)__builtin_popcountll(stops);
        if (found == 0 || found > room - n) break; /* none: the bytes have changed since they were counted */
        if (found == BLOCK) {
            for (size_t i = 0; i < BLOCK; i++) words[n + i] = at[i];
            n += BLOCK;
            at += BLOCK;
            continue;
        }
        unsigned start = 0;
        for (size_t until = n + found; n < until; n++) {
            unsigned stop = (unsigned)__builtin_ctzll(stops);
            words[n] = LEVEL(join)(at + start, stop - start);
            start = stop + 1;
            stops &= stops - 1;
        }
        at += start;
    }
    *from = at;
    return n;
}

/* Whether each word of a group takes one byte. */
LEVEL_TARGET static inline bool LEVEL(all_small)(const uint64_t *words)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < GROUP; i++) bits |= words[i];
    return bits < 0x80;
}

/* Bytes that words[n] take as varints. */
LEVEL_TARGET static size_t LEVEL(size)(const uint64_t *words, size_t n)
{
    size_t size = 0, done = 0;
    for (; n - done >= GROUP; done += GROUP) {
        if (LEVEL(all_small)(words + done))
            size += GROUP;
        else
            for (size_t i = 0; i < GROUP; i++) size += (size_t)ps_varint_size(words[done + i]);
    }
    for (; done < n; done++) size += (size_t)ps_varint_size(words[done]);
    return size;
}

/* Writes words[n] by groups while there is room for the longest; returns how many, and moves `to` behind
 * them.
 *
 * Each goes out as ten bytes, without a branch, and the next one over what was too much. */
LEVEL_TARGET static size_t LEVEL(write)(uint8_t **to, const uint8_t *end, const uint64_t *words, size_t n)
{
    uint8_t *at = *to;
    size_t done = 0;
    for (; n - done >= GROUP && end - at >= GROUP * PS_VARINT_MOST; done += GROUP, words += GROUP) {
        if (LEVEL(all_small)(words)) {
            for (size_t i = 0; i < GROUP; i++) at[i] = (uint8_t)words[i];
            at += GROUP;
            continue;
        }
        for (size_t i = 0; i < GROUP; i++) {
            uint64_t word = words[i];
            int size = ps_varint_size(word);
            ps_write_little64(at, LEVEL(split)(word) | MORE[size]);
            at[8] = (uint8_t)(word >> 56); /* its bit 63 says that there is more */
            at[9] = (uint8_t)(word >> 63);
            at += size;
        }
    }
    *to = at;
    return done;
}
