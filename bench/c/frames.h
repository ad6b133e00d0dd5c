/* Frame records and their references: src/machine/frame.ts, src/hypervisor/page.ts, l1e.ts, validate.ts, upper.ts.
 * 16 bytes a frame: reference count word and type word (one 64-bit word), owner, stamp. */
#include "tlb.h"
#include <stdbool.h>

#define COUNT 0x03ffffffu
#define ALLOCATED (1u << 26)
#define XEN_HEAP (1u << 29)
#define LOCKED (1u << 30)
#define TYPE (7u << 26)
#define WRITABLE (7u << 26)
#define PINNED (1u << 29)
#define VALIDATED (1u << 30)
#define PARTIAL (1u << 31)
#define LEVEL(n) ((uint32_t)(n) << 26)

#define EPERM 1
#define EBUSY 16
#define EINVAL 22

struct frame {
  union {
    struct {
      _Atomic uint32_t count, type;
    };
    _Atomic uint64_t both;
  };
  _Atomic uint32_t owner, stamp;
};
static struct frame *frame;
static _Atomic uint32_t flush_clock __attribute__((aligned(64))) = 1;
/* One compare-exchange for both counts where semantics allow it, or two of 32 bits as Xen has it. */
static bool one_word;

static inline bool get_page_any(uint32_t mfn)
{
  uint32_t x = atomic_load_explicit(&frame[mfn].count, memory_order_relaxed);
  do
    if (((x + 2) & COUNT) <= 2)
      return false;
  while (!atomic_compare_exchange_weak(&frame[mfn].count, &x, x + 1));
  return true;
}
static inline void put_page(uint32_t mfn)
{
  if ((atomic_fetch_sub(&frame[mfn].count, 1) & COUNT) == 1)
    abort(); /* nothing is freed here */
}
static inline bool get_page(uint32_t mfn, uint32_t owner)
{
  if (!get_page_any(mfn))
    return false;
  if ((frame[mfn].owner & 0xffff) == owner)
    return true;
  put_page(mfn);
  return false;
}

static inline uint32_t type_counts(const uint32_t *data, uint32_t pages)
{
  uint32_t sum = 0;
  for (uint32_t i = 0; i < pages; i++)
    sum += frame[data[i]].type & COUNT;
  return sum;
}

static int validate(uint32_t mfn, uint32_t type, uint32_t owner);
static void devalidate(uint32_t mfn, uint32_t type);

static inline int get_type(uint32_t mfn, uint32_t type, uint32_t owner)
{
  uint32_t x = atomic_load_explicit(&frame[mfn].type, memory_order_relaxed), nx;
  do {
    nx = x + 1;
    if ((x & COUNT) == COUNT)
      return -EINVAL;
    if ((x & COUNT) == 0) {
      if ((x & TYPE) != type)
        nx = (nx & ~(TYPE | VALIDATED)) | type;
    } else if ((x & TYPE) != type || !(x & VALIDATED))
      return -EINVAL;
  } while (!atomic_compare_exchange_weak(&frame[mfn].type, &x, nx));
  if (nx & VALIDATED)
    return 0;
  if (type < LEVEL(5)) {
    atomic_store_explicit(&frame[mfn].stamp, 0, memory_order_relaxed);
    int rc = validate(mfn, type, owner);
    if (rc) {
      atomic_store(&frame[mfn].type, 0);
      return rc;
    }
  }
  atomic_fetch_or(&frame[mfn].type, VALIDATED);
  return 0;
}

static inline void put_type(uint32_t mfn)
{
  uint32_t x = atomic_load_explicit(&frame[mfn].type, memory_order_relaxed);
  for (;;) {
    if ((x & COUNT) == 1 && (x & TYPE) < LEVEL(5) && (x & VALIDATED)) {
      if (!atomic_compare_exchange_weak(&frame[mfn].type, &x, x & ~VALIDATED))
        continue;
      devalidate(mfn, x & TYPE);
      atomic_store(&frame[mfn].stamp, flush_clock);
      atomic_fetch_sub(&frame[mfn].type, 1);
      return;
    }
    if ((x & COUNT) == 1)
      atomic_store_explicit(&frame[mfn].stamp, flush_clock, memory_order_relaxed);
    if (atomic_compare_exchange_weak(&frame[mfn].type, &x, x - 1))
      return;
  }
}

/* The references of a present L1 entry. */
static inline int get_l1e(uint64_t e, uint32_t owner)
{
  uint32_t lo = (uint32_t)e, mfn = lo >> 12;
  if (lo & 0x98)
    return -EINVAL;
  if ((e & FRAME_HI) || mfn >= frames)
    return -EPERM;
  if (one_word) {
    uint64_t x = atomic_load_explicit(&frame[mfn].both, memory_order_relaxed), n;
    if ((frame[mfn].owner & 0xffff) != owner)
      return -EBUSY;
    do {
      if ((((uint32_t)x + 2) & COUNT) <= 2)
        return -EBUSY;
      n = x + 1;
      if (lo & RW) {
        uint32_t t = (uint32_t)(x >> 32);
        if ((t & (TYPE | VALIDATED)) != (WRITABLE | VALIDATED) || (t & COUNT) == COUNT)
          return -EBUSY;
        n += 1ull << 32;
      }
    } while (!atomic_compare_exchange_weak(&frame[mfn].both, &x, n));
    return 0;
  }
  if (!get_page(mfn, owner))
    return -EBUSY;
  if ((lo & RW) && get_type(mfn, WRITABLE, owner)) {
    put_page(mfn);
    return -EBUSY;
  }
  return 0;
}

static inline void put_l1e(uint64_t e)
{
  uint32_t lo = (uint32_t)e, mfn = lo >> 12;
  if (!(lo & P) || (e & FRAME_HI) || mfn >= frames)
    return;
  if (one_word && (lo & RW)) {
    uint64_t x = atomic_load_explicit(&frame[mfn].both, memory_order_relaxed);
    do
      if ((x >> 32 & COUNT) == 1)
        atomic_store_explicit(&frame[mfn].stamp, flush_clock, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&frame[mfn].both, &x, x - 1 - (1ull << 32)));
    if (((uint32_t)x & COUNT) == 1)
      abort();
    return;
  }
  if (lo & RW)
    put_type(mfn);
  put_page(mfn);
}

static inline uint64_t adjust_l1e(uint64_t e)
{
  if (!(e & P))
    return e;
  if (!(e & US))
    return e | US | KERNEL_BIT;
  return e & KERNEL_BIT ? e : e | GLOBAL;
}

static int validate(uint32_t mfn, uint32_t type, uint32_t owner)
{
  unsigned level = type >> 26;
  for (unsigned i = 0; i < 512; i++) {
    if (level == 4 && i >= 256 && i < 272)
      continue;
    uint64_t *slot = slot_of(mfn, i), e = *slot;
    if (!(e & P))
      continue;
    if (level == 1) {
      int rc = get_l1e(e, owner);
      if (rc) {
        while (i-- > 0)
          put_l1e(*slot_of(mfn, i));
        return rc;
      }
      *slot = adjust_l1e(e);
      continue;
    }
    uint32_t below = (uint32_t)e >> 12;
    if ((e & (PSE | 0x18 | GLOBAL)) || (e & FRAME_HI) || below >= frames || !get_page(below, owner))
      return -EINVAL;
    int rc = get_type(below, LEVEL(level - 1), owner);
    if (rc)
      return rc;
    *slot = e | US | (level == 4 ? ACCESSED : 0);
  }
  return 0;
}

static void devalidate(uint32_t mfn, uint32_t type)
{
  unsigned level = type >> 26;
  for (unsigned i = 0; i < 512; i++) {
    if (level == 4 && i >= 256 && i < 272)
      continue;
    uint64_t e = *slot_of(mfn, i);
    if (!(e & P))
      continue;
    if (level == 1)
      put_l1e(e);
    else {
      put_type((uint32_t)e >> 12);
      put_page((uint32_t)e >> 12);
    }
  }
}

static inline int pin(uint32_t mfn, uint32_t type, uint32_t owner)
{
  if (!get_page(mfn, owner))
    return -EINVAL;
  int rc = get_type(mfn, type, owner);
  if (!rc && (atomic_fetch_or(&frame[mfn].type, PINNED) & PINNED)) {
    put_type(mfn);
    rc = -EINVAL;
  }
  if (rc)
    put_page(mfn);
  return rc;
}
static inline int unpin(uint32_t mfn, uint32_t owner)
{
  if (!get_page(mfn, owner))
    return -EINVAL;
  if (!(atomic_fetch_and(&frame[mfn].type, ~PINNED) & PINNED)) {
    put_page(mfn);
    return -EINVAL;
  }
  put_type(mfn);
  put_page(mfn);
  put_page(mfn);
  return 0;
}

/* Every frame belongs to domain 1, allocated; data frames have been writable before. */
static void own_frames(const uint32_t *data, uint32_t pages)
{
  frame = aligned_alloc(64, ((size_t)frames * sizeof *frame + 63) & ~(size_t)63);
  memset(frame, 0, (size_t)frames * sizeof *frame);
  for (uint32_t m = 1; m < next_frame; m++) {
    frame[m].count = ALLOCATED | 1;
    frame[m].owner = 1;
  }
  for (uint32_t i = 0; i < pages; i++)
    frame[data[i]].type = WRITABLE | VALIDATED;
}
