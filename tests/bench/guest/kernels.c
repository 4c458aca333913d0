/* Compute kernels of the measuring guest, one an argument, each a few tenths of a second on a current
 * host. Each prints a checksum of all it computed, so that an emulator that is fast but wrong is seen.
 *
 * What they print may depend on nothing but the arithmetic: no libm function that picks its code by
 * CPUID (fused multiply-add rounds differently), no addresses, no time. The file is built twice, for
 * the x86-64 baseline and for x86-64-v3 (AVX2).
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state = 88172645463325252ull;

/* Marsaglia's xorshift64: the same numbers everywhere. */
static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void *allocate(size_t size)
{
    void *p = malloc(size);
    if (!p) {
        perror("kernels");
        exit(1);
    }
    return p;
}

/* ---- int: sorting, a bitwise CRC and a state machine: integer ALU and branches ------------------ */

static void shell_sort(uint32_t *a, int n)
{
    for (int gap = n / 2; gap; gap /= 2) {
        for (int i = gap; i < n; i++) {
            uint32_t t = a[i];
            int j = i;
            for (; j >= gap && a[j - gap] > t; j -= gap)
                a[j] = a[j - gap];
            a[j] = t;
        }
    }
}

static uint32_t crc32_bitwise(uint32_t crc, const uint32_t *a, int n)
{
    for (int i = 0; i < n; i++) {
        crc ^= a[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0xedb88320u & -(crc & 1));
    }
    return crc;
}

static uint64_t state_machine(uint64_t h, const uint32_t *a, int n)
{
    uint32_t state = 0;
    for (int i = 0; i < n; i++) {
        switch ((state + a[i]) & 7) {
        case 0: state++; break;
        case 1: state += 3; break;
        case 2: h ^= state; break;
        case 3: state ^= 5; break;
        case 4: h += a[i] / (((state + 7) & 1023) | 1); break;
        case 5: state -= 2; break;
        case 6: h *= 31; break;
        default: state = (uint32_t)h & 63; break;
        }
    }
    return h;
}

static void kernel_int(void)
{
    enum { N = 400000, ROUNDS = 2 };
    uint32_t *a = allocate(N * sizeof(*a)), crc = ~0u;
    uint64_t h = 0;

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < N; i++)
            a[i] = (uint32_t)next_random();
        shell_sort(a, N);
        crc = crc32_bitwise(crc, a, N);
        h = state_machine(h, a, N);
    }
    printf("%08x %016llx\n", crc, (unsigned long long)h);
    free(a);
}

/* ---- fp: n bodies on a line and the Mandelbrot set, scalar doubles ------------------------------ */

static double bodies(int steps)
{
    enum { N = 5 };
    double x[N], v[N], mass[N];

    for (int i = 0; i < N; i++) {
        x[i] = i * 1.37;
        v[i] = 0.1 * i;
        mass[i] = 1.0 / (i + 1);
    }
    for (int step = 0; step < steps; step++) {
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++) {
                if (i == j)
                    continue;
                double d = x[j] - x[i], q = d * d + 0.01;
                v[i] += mass[j] * d / (q * sqrt(q)) * 1e-4;
            }
        }
        for (int i = 0; i < N; i++)
            x[i] += v[i] * 1e-4;
    }
    return x[0] + x[N - 1];
}

static long mandelbrot(int size)
{
    long total = 0;
    for (int py = 0; py < size; py++) {
        for (int px = 0; px < size; px++) {
            double cr = px * 2.0 / size - 1.5, ci = py * 2.0 / size - 1, zr = 0, zi = 0;
            int k = 0;
            for (; k < 100 && zr * zr + zi * zi < 4; k++) {
                double t = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = t;
            }
            total += k;
        }
    }
    return total;
}

static void kernel_fp(void)
{
    double x = bodies(800000);
    printf("%.17g %ld\n", x, mandelbrot(480));
}

/* ---- x87: eighty bits -------------------------------------------------------------------------- */

static void kernel_x87(void)
{
    long double sum = 0, p = 1;

    for (int i = 1; i < 4000000; i++) {
        sum += 1.0L / ((long double)i * i);
        p = p * 1.0000001L - 1e-9L;
        if (p > 2)
            p -= 1;
    }
    for (int i = 1; i < 300000; i++)
        sum += sqrtl((long double)i) * 1e-6L + fabsl(sinl(i * 0.001L)) * 1e-7L;
    printf("%.21Lg %.21Lg\n", sum, p);
}

/* ---- simd: loops that the compiler vectorises: floats, ints, bytes ------------------------------ */

__attribute__((optimize("O3"))) static void kernel_simd(void)
{
    enum { N = 8192, ROUNDS = 20000 };
    static float a[N], b[N], c[N];
    static int32_t p[N], q[N];
    static uint8_t u[N], w[N];
    float fsum = 0;
    int64_t isum = 0;

    for (int i = 0; i < N; i++) {
        a[i] = i * 0.5f;
        b[i] = 1.0f / (i + 1);
        p[i] = i * 7;
        u[i] = (uint8_t)(i * 13);
        w[i] = (uint8_t)(i * 29);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < N; i++)
            c[i] = a[i] * b[i] + c[i] * 0.5f;
        for (int i = 0; i < N; i++)
            q[i] = (p[i] ^ (int32_t)((uint32_t)q[i] << 1)) + round;
        for (int i = 0; i < N; i++)
            u[i] = (uint8_t)((u[i] + w[i] + 1) >> 1);
        fsum += c[round & (N - 1)];
        isum += q[round & (N - 1)] + u[round & (N - 1)];
    }
    printf("%.9g %lld\n", fsum, (long long)isum);
}

/* ---- mem and chase: copying, and dependent loads over 64 MiB, the worst case of a TLB ------------ */

static void kernel_mem(void)
{
    enum { ROUNDS = 6 };
    const size_t size = 64u << 20;
    char *from = allocate(size), *to = allocate(size);
    uint64_t h = 0;

    memset(from, 1, size);
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(to, from, size);
        memset(from, round, size);
        for (size_t i = 0; i < size; i += 4096)
            h = h * 31 + (uint8_t)to[i];
    }
    printf("%016llx\n", (unsigned long long)h);
    free(from);
    free(to);
}

static void kernel_chase(void)
{
    enum { LOADS = 2000000 };
    const size_t n = 8u << 20;
    uint64_t *next = allocate(n * sizeof(*next)), x = 0;

    for (size_t i = 0; i < n; i++)
        next[i] = i;
    for (size_t i = n - 1; i; i--) { /* Sattolo: one cycle through all */
        size_t j = next_random() % i;
        uint64_t t = next[i];
        next[i] = next[j];
        next[j] = t;
    }
    for (int i = 0; i < LOADS; i++)
        x = next[x];
    printf("%llu\n", (unsigned long long)x);
    free(next);
}

/* ---- call: indirect calls, and recursion (Ackermann's function) ---------------------------------- */

static int call_inc(int x) { return x + 1; }
static int call_xor(int x) { return x ^ 5; }
static int call_mul(int x) { return (int)((unsigned)x * 3); }
static int call_sub(int x) { return (int)((unsigned)x - 7); }

static __attribute__((noinline)) int ackermann(int m, int n)
{
    if (m == 0)
        return n + 1;
    return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

static void kernel_call(void)
{
    static int (*volatile const table[4])(int) = {call_inc, call_xor, call_mul, call_sub};
    int x = 1;
    for (int i = 0; i < 25000000; i++)
        x = table[(unsigned)(x ^ i ^ (i >> 5)) & 3](x);
    printf("%d %d\n", x, ackermann(2, 1000));
}

/* ---- wav: six seconds of two noisy tones, for flac --------------------------------------------- */

struct tone {
    double s, c, ds, dc;
};

/* A sine by rotation: sin() of libm is not the same on every processor. */
static double next_sample(struct tone *t)
{
    double s = t->s * t->dc + t->c * t->ds;
    t->c = t->c * t->dc - t->s * t->ds;
    return t->s = s;
}

static void put_le(uint32_t value, int bytes)
{
    for (; bytes; bytes--, value >>= 8)
        putchar(value & 0xff);
}

static void kernel_wav(void)
{
    enum { RATE = 44100, CHANNELS = 2, SAMPLES = 6 * RATE, SIZE = SAMPLES * CHANNELS * 2 };
    struct tone left = {0, 1, 0.02999550020249566, 0.9995500337489875};   /* 0.03 a sample */
    struct tone right = {0, 1, 0.010999778168008754, 0.9999395006100392}; /* 0.011 */

    fputs("RIFF", stdout);
    put_le(SIZE + 36, 4);
    fputs("WAVEfmt ", stdout);
    put_le(16, 4);
    put_le(1, 2); /* PCM */
    put_le(CHANNELS, 2);
    put_le(RATE, 4);
    put_le(RATE * CHANNELS * 2, 4);
    put_le(CHANNELS * 2, 2);
    put_le(16, 2);
    fputs("data", stdout);
    put_le(SIZE, 4);
    for (int i = 0; i < SAMPLES; i++) {
        put_le((uint32_t)(int)(9000 * next_sample(&left) + (int)(next_random() & 511)), 2);
        put_le((uint32_t)(int)(7000 * next_sample(&right) + (int)(next_random() & 255)), 2);
    }
}

/* ------------------------------------------------------------------------------------------------- */

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } kernels[] = {
        {"int", kernel_int},     {"fp", kernel_fp},   {"x87", kernel_x87},
        {"simd", kernel_simd},   {"mem", kernel_mem}, {"chase", kernel_chase},
        {"call", kernel_call},   {"wav", kernel_wav},
    };
    const char *name = argc == 2 ? argv[1] : "";

    if (!strcmp(name, "has-avx2")) /* its status is the answer */
        return !__builtin_cpu_supports("avx2");
    for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
        if (!strcmp(name, kernels[i].name)) {
            kernels[i].run();
            return fflush(stdout) ? 1 : 0;
        }
    }
    fprintf(stderr, "usage: kernels int|fp|x87|simd|mem|chase|call|wav|has-avx2\n");
    return 2;
}
