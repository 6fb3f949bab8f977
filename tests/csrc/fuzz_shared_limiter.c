/* The shared table in the hands of several processes, of which any is stopped or killed at any step.
 *
 * The kernel is built once more here, with a hook before each of its steps. In the hook the clock may move,
 * other processes may do whole requests of their own (and be interrupted in turn), and the process at work
 * may be killed. That is every interleaving of processes that end in the reverse order of their beginning. */
#include <setjmp.h>

#include "fuzz.h"

static void step(void);
#define PS_SHARED_STEP() step()
#define ps_shared_supported stepped_supported
#define ps_siphash128 stepped_siphash128
#define ps_shared_locate stepped_locate
#define ps_shared_take stepped_take
#define ps_shared_give_back stepped_give_back
#define ps_shared_claim stepped_claim
#define ps_shared_move_in stepped_move_in
#define ps_shared_read stepped_read
#define ps_shared_refund stepped_refund
#define ps_shared_reset stepped_reset
#define ps_shared_room stepped_room
#define ps_shared_sweep stepped_sweep
#define ps_shared_live stepped_live
#define ps_shared_turned_away stepped_turned_away
#define ps_shared_check stepped_check
#include "../../csrc/shared_limiter.c"

enum { SLOTS = 32, QUOTAS = 3, KEYS = 48, ADMISSIONS = 64, DEPTH = 3, KILLS = 12 };

typedef struct {
    int64_t at; /* what the clock showed when the request read it for the last time */
    int64_t n;
} admission;

static ps_shared_cell cells[SLOTS * QUOTAS];
static _Atomic uint64_t turned_away;
static ps_shared table;

static fuzz_input input;
static int64_t now;
static uint8_t keys; /* how many there are; few, so that processes meet */
static int depth, kills;
static jmp_buf deaths[DEPTH + 1];
static admission admitted[KEYS][ADMISSIONS];
static int admissions[KEYS];

static ps_shared_key key_of(uint8_t number) { return ps_shared_locate(&table, 1, &number, 1); }

static int64_t least_depth(void)
{
    int64_t least = table.paces[0].depth;
    for (uint32_t i = 1; i < table.quotas; i++) {
        if (table.paces[i].depth < least) least = table.paces[i].depth;
    }
    return least;
}

/* One request, as the compiled twin makes it. */
static void request(uint8_t number, int64_t n)
{
    ps_shared_trace trace;
    ps_shared_key key = key_of(number);
    int64_t at = now;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        ps_shared_answer answer = ps_shared_take(&table, key, at, n, &trace);
        if (answer == PS_SHARED_ALLOWED) {
            if (admissions[number] < ADMISSIONS) admitted[number][admissions[number]++] = (admission){at, n};
            return;
        }
        if (answer == PS_SHARED_LIMITED) return;
        if (answer == PS_SHARED_OWING) {
            while (!ps_shared_give_back(&table, at, now, n, &trace)) continue;
            return;
        }
        if (answer == PS_SHARED_ABSENT) answer = ps_shared_claim(&table, key, at, &trace);
        if (answer == PS_SHARED_FULL) {
            FUZZ_REQUIRE(keys > 8); /* a few keys and the claims of the dead leave room */
            return;
        }
        if (answer == PS_SHARED_CLAIMED) {
            at = now;
            ps_shared_move_in(&table, at, &trace);
        }
    }
    FUZZ_REQUIRE(!"a request ends");
}

static void act(void)
{
    if (setjmp(deaths[depth]) != 0) return; /* killed */
    uint8_t number = (uint8_t)(fuzz_take(&input, 1) % keys);
    uint64_t choice = fuzz_take(&input, 1);
    if (choice % 32 == 0) {
        ps_shared_sweep(&table, now);
    } else if (choice % 32 == 1) {
        ps_shared_trace trace;
        int64_t room = ps_shared_room(&table, key_of(number), now);
        FUZZ_REQUIRE(room >= 0);
        ps_shared_read(&table, key_of(number), &trace);
        FUZZ_REQUIRE(ps_shared_live(&table, now) <= SLOTS);
    } else {
        request(number, 1 + (int64_t)(choice >> 5) % least_depth());
    }
}

static void step(void)
{
    uint64_t choice = fuzz_take(&input, 1);
    if (choice == 0) return; /* the bytes have run out, too */
    if (choice < 24) now += (int64_t)choice;
    if (choice == 24) now += INT64_C(1) << 31; /* a claim is stale by then */
    if (choice >= 25 && choice < 80 && depth < DEPTH) {
        depth++;
        act();
        depth--;
    }
    if (choice >= 250 && kills < KILLS) {
        kills++;
        longjmp(deaths[depth], 1);
    }
}

/* The promise: between two moments no more than a full bucket and what has come back. */
static void check_every_window(uint8_t number)
{
    for (int first = 0; first < admissions[number]; first++) {
        for (int last = 0; last < admissions[number]; last++) {
            int64_t from = admitted[number][first].at, to = admitted[number][last].at, taken = 0;
            if (to < from) continue;
            for (int i = 0; i < admissions[number]; i++) {
                if (from <= admitted[number][i].at && admitted[number][i].at <= to) taken += admitted[number][i].n;
            }
            FUZZ_REQUIRE(taken <= least_depth() + (to - from));
        }
    }
}

static void check_siphash(void) /* the first two vectors of its authors */
{
    static const uint8_t expected[2][16] = {
        {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93},
        {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45}};
    const uint64_t secret[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    uint64_t out[2];
    for (size_t length = 0; length < 2; length++) {
        ps_siphash128(secret, 0, "", length, out);
        FUZZ_REQUIRE(memcmp(out, expected[length], sizeof out) == 0);
    }
}

/* A table of any bytes, as a broken program may leave them: wrong answers, but an end and no overflow. */
static void use_garbage(void)
{
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        cells[i].owner = fuzz_take(&input, 8);
        cells[i].full_at = fuzz_take(&input, 8);
    }
    uint8_t number = (uint8_t)fuzz_take(&input, 1);
    ps_shared_key key = key_of(number);
    for (uint32_t i = 0; i < table.quotas; i++) { /* one slot that looks like the key's */
        ps_shared_cell *cell = cells + key.first * table.quotas + i;
        cell->owner = key.tag | (number & 0xc) | MEMBER;
        cell->full_at = (uint64_t)fuzz_between(&input, INT64_MAX - 64, INT64_MAX);
    }
    ps_shared_trace trace;
    int64_t clock = fuzz_between(&input, INT64_MIN, INT64_MAX);
    ps_shared_answer answer = ps_shared_take(&table, key, clock, 1, &trace);
    if (answer == PS_SHARED_OWING) FUZZ_REQUIRE(ps_shared_give_back(&table, clock, clock, 1, &trace));
    if (ps_shared_claim(&table, key, clock, &trace) == PS_SHARED_CLAIMED) ps_shared_move_in(&table, clock, &trace);
    FUZZ_REQUIRE(ps_shared_room(&table, key, clock) >= 0);
    ps_shared_refund(&table, key, clock, 1);
    ps_shared_sweep(&table, clock);
    ps_shared_reset(&table, key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_siphash();
    input = (fuzz_input){data, size};
    now = depth = kills = 0;
    memset(cells, 0, sizeof cells);
    memset(admissions, 0, sizeof admissions);
    table = (ps_shared){.cells = cells, .turned_away = &turned_away, .slots = SLOTS, .secret = {0, 1}};
    table.secret[0] = fuzz_take(&input, 2);
    table.quotas = (uint32_t)fuzz_between(&input, 1, QUOTAS);
    for (uint32_t i = 0; i < table.quotas; i++) {
        table.paces[i] = (ps_pace){UINT64_C(1) << 62, 1, fuzz_between(&input, 1, 30), 0}; /* a tick is 1 ns */
    }
    uint64_t mode = fuzz_take(&input, 1);
    if (mode % 16 == 0) {
        depth = DEPTH; /* nobody else acts */
        kills = KILLS;
        use_garbage();
        return 0;
    }
    keys = mode % 4 == 1 ? KEYS : (uint8_t)(1 + mode % 8);
    while (input.left > 0) {
        now += fuzz_between(&input, 0, 15);
        act();
        int left = kills;
        fuzz_input rest = input;
        input.left = 0; /* what checks does so alone */
        FUZZ_REQUIRE(ps_shared_check(&table));
        input = rest;
        kills = left;
    }
    for (uint8_t number = 0; number < keys; number++) check_every_window(number);
    return 0;
}
