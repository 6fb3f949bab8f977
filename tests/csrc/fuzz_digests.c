/* The digests against published values, around the end of a block and on a million bytes; and on any bytes:
 * they read no byte too many, wherever the bytes lie. Random bytes are held against hashlib in
 * tests/hashring/test_key_hash.py. */
#include <stdbool.h>

#include "digests.h"
#include "fuzz.h"

typedef struct {
    const char *text;
    size_t times;
    const char *md5, *sha256;
} golden;

/* RFC 1321, A.5; FIPS 180-4's examples; the rest by OpenSSL. */
static const golden KNOWN[] = {
    {"", 1, "d41d8cd98f00b204e9800998ecf8427e",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", 1, "900150983cd24fb0d6963f7d28e17f72",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"message digest", 1, "f96b697d7cb7938d525a2f31aaf161d0",
     "f7846f55cf23e14eebeab5b4e1550cad5b509e3348fbc4efa3a1413d393cb650"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1, "8215ef0796a20bcaaae116d3876c664a",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"a", 55, "ef1772b6dff9a122358552954ad0df65",
     "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
    {"a", 56, "3b0c8ac703f828b04c6c197006d17218",
     "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
    {"a", 63, "b06521f39153d618550606be297466d5",
     "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
    {"a", 64, "014842d480b571495a4a0363793f7367",
     "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
    {"a", 119, "8a7bd0732ed6a28ce75f6dabc90e1613",
     "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb"},
    {"a", 120, "5f61c0ccad4cac44c75ff505e1f1e537",
     "2f3d335432c70b580af0e8e1b3674a7c020d683aa5f73aaaedfdc55af904c21c"},
    {"a", 1000000, "7707d6ae4e027c70eea2a935c2296f21",
     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

static bool is_written(const uint8_t *digest, size_t size, const char *hex)
{
    char text[65];
    for (size_t i = 0; i < size; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return strcmp(text, hex) == 0;
}

static void require_known_values(void)
{
    uint8_t digest[32];
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        size_t width = strlen(KNOWN[i].text), size = width * KNOWN[i].times;
        uint8_t *bytes = malloc(size);
        FUZZ_REQUIRE(size == 0 || bytes != NULL);
        for (size_t at = 0; at < size; at++) bytes[at] = (uint8_t)KNOWN[i].text[at % width];
        ps_md5(bytes, size, digest);
        FUZZ_REQUIRE(is_written(digest, 16, KNOWN[i].md5));
        ps_sha256(bytes, size, digest);
        FUZZ_REQUIRE(is_written(digest, 32, KNOWN[i].sha256));
        free(bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int known;
    if (!known++) require_known_values();

    fuzz_input input = {data, size};
    size_t shift = (size_t)fuzz_take(&input, 1) % 8, most = (size_t)fuzz_take(&input, 1) % 2 ? 130 : 4096;
    size_t length = input.left < most ? input.left : most;
    uint8_t *exact = malloc(length), *moved = malloc(length + shift); /* a byte too many is an error */
    uint8_t digest[32], again[32];
    FUZZ_REQUIRE(length == 0 || (exact != NULL && moved != NULL));
    if (length > 0) {
        memcpy(exact, input.bytes, length);
        memcpy(moved + shift, input.bytes, length);
    }
    ps_md5(exact, length, digest);
    ps_md5(moved + shift, length, again);
    FUZZ_REQUIRE(memcmp(digest, again, 16) == 0);
    ps_sha256(exact, length, digest);
    ps_sha256(moved + shift, length, again);
    FUZZ_REQUIRE(memcmp(digest, again, 32) == 0);
    free(exact);
    free(moved);
    return 0;
}
