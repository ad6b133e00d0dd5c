/* The machine as the TypeScript side has it, in C: one array of 32-bit words, 4-level tables, one vCPU's TLB.
 * Same layout and same algorithm; what a C programmer would write, not a translation word by word. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define P 0x001u
#define RW 0x002u
#define US 0x004u
#define ACCESSED 0x020u
#define DIRTY 0x040u
#define PSE 0x080u
#define GLOBAL 0x100u
#define NX (1ull << 63)
#define FRAME_HI 0x000fffff00000000ull
#define KERNEL_BIT (1ull << 52)

static uint32_t *words;
static uint32_t frames;

static inline uint64_t *slot_of(uint32_t mfn, unsigned index) { return (uint64_t *)words + (uint64_t)mfn * 512 + index; }
static inline uint32_t *page_of(uint32_t mfn) { return words + (uint64_t)mfn * 1024; }

static inline void machine(unsigned mib)
{
  size_t bytes = (size_t)mib << 20;
  words = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (words == MAP_FAILED) {
    perror("mmap");
    exit(1);
  }
  frames = (uint32_t)(bytes / 4096 * 3 / 4);
}

static uint32_t random_state = 2463534242u;
static inline uint32_t next_random(void)
{
  uint32_t x = random_state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return random_state = x;
}
static inline void shuffle(uint32_t *a, uint32_t n)
{
  random_state = 2463534242u;
  for (uint32_t i = n - 1; i > 0; i--) {
    uint32_t k = next_random() % (i + 1), t = a[i];
    a[i] = a[k];
    a[k] = t;
  }
}

static inline uint64_t now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* One measurement per line of input, the best of RUNS runs (as in bench/side.ts): "<ns per op> <checksum>". */
#define RUNS 5
/* Untimed, after the last run: the checksum of what it left behind, instead of what it answers. */
static uint32_t (*check)(void);
static int serve(void (*reset)(void), uint32_t (*run)(void), uint64_t ops)
{
  char line[64];
  while (fgets(line, sizeof line, stdin) && strncmp(line, "end", 3)) {
    uint64_t best = UINT64_MAX;
    uint32_t sum = 0;
    for (int i = 0; i < RUNS; i++) {
      if (reset)
        reset();
      uint64_t start = now_ns();
      sum = run();
      uint64_t ns = now_ns() - start;
      if (ns < best)
        best = ns;
    }
    if (check)
      sum = check();
    printf("%.4f %" PRId32 "\n", (double)best / (double)ops, (int32_t)sum);
    fflush(stdout);
  }
  return 0;
}

/* Frames are taken from 1 up for data, and above them for tables. */
static uint32_t next_frame = 1;
static uint32_t take(void) { return next_frame++; }

struct tree {
  uint32_t l4, l3, n1, *l1;
};

static inline struct tree lay_tree(const uint32_t *data, uint32_t pages)
{
  struct tree t = {take(), take(), (pages + 511) / 512, NULL};
  t.l1 = malloc(t.n1 * sizeof *t.l1);
  uint32_t n2 = (t.n1 + 511) / 512;
  *slot_of(t.l4, 0) = (uint64_t)t.l3 << 12 | 0x67;
  for (uint32_t i = 0; i < n2; i++) {
    uint32_t l2 = take();
    *slot_of(t.l3, i) = (uint64_t)l2 << 12 | 0x67;
    for (uint32_t k = i * 512; k < t.n1 && k < i * 512 + 512; k++) {
      t.l1[k] = take();
      *slot_of(l2, k & 511) = (uint64_t)t.l1[k] << 12 | 0x67;
    }
  }
  for (uint32_t i = 0; i < pages; i++)
    *slot_of(t.l1[i / 512], i % 512) = (uint64_t)data[i] << 12 | 0x167;
  return t;
}

#define WALK_WRITE (1 << 20)
#define WALK_GLOBAL (1 << 21)
#define WALK_NX (1 << 22)

/* The walk: as src/machine/walk.ts; answers a WALK_ word or ~error. `access`: 2 for a write, 16 for a fetch. */
static inline int32_t walk(uint32_t root, uint64_t va, uint32_t access)
{
  uint32_t table = root, allow = RW | US;
  uint64_t nx = 0;
  for (int level = 4;; level--) {
    _Atomic uint64_t *at = (_Atomic uint64_t *)slot_of(table, va >> (3 + 9 * level) & 511);
    uint64_t e;
  again:
    e = atomic_load_explicit(at, memory_order_relaxed);
    if (!(e & P))
      return ~access;
    uint32_t mfn = (uint32_t)e >> 12;
    if ((e & FRAME_HI) || mfn >= frames || (level > 1 && (e & PSE)))
      return ~(access | 9);
    uint32_t rights = allow & (uint32_t)e;
    uint64_t noexec = nx | (e & NX);
    if (level == 1 && (!(rights & US) || ((access & 2) && !(rights & RW)) || ((access & 16) && noexec)))
      return ~(access | 1);
    uint32_t lo = (uint32_t)e, want = lo | ACCESSED | (level == 1 && (access & 2) ? DIRTY : 0);
    if (want != lo && !atomic_compare_exchange_strong((_Atomic uint32_t *)at, &lo, want))
      goto again;
    if (level == 1)
      return (int32_t)(mfn | ((rights & RW) && (want & DIRTY) ? WALK_WRITE : 0) | (want & GLOBAL ? WALK_GLOBAL : 0) |
                       (noexec ? WALK_NX : 0));
    allow = rights;
    nx = noexec;
    table = mfn;
  }
}
