/* One vCPU's TLB and its guest accesses: src/machine/tlb.ts, src/vcpu/memory.ts. */
#include "machine.h"

struct slot {
  uint32_t r_lo, r_hi, w_lo, w_hi, base, flags, root, spare;
};
static struct cpu {
  _Atomic uint32_t request, mode;
  uint32_t key, global_key, cr3;
} cpu __attribute__((aligned(64)));
static struct slot tlb[256];

static uint32_t tlb_miss(uint64_t va, uint32_t access)
{
  int32_t got = walk(cpu.cr3, va, access);
  if (got < 0) {
    fprintf(stderr, "fault at %" PRIx64 "\n", va);
    exit(1);
  }
  struct slot *s = &tlb[va >> 12 & 255];
  uint32_t lo = ((uint32_t)va & ~4095u) | 1, hi = (uint32_t)(va >> 32) ^ (got & WALK_GLOBAL ? cpu.global_key : cpu.key);
  *s = (struct slot){lo, hi, got & WALK_WRITE ? lo : 0, hi, (got & 0xfffff) * 1024, got, cpu.cr3, 0};
  return s->base + (((uint32_t)va & 4095) >> 2);
}

static inline uint32_t tlb_read(uint64_t va)
{
  struct slot *s = &tlb[va >> 12 & 255];
  uint32_t key = s->r_hi ^ (uint32_t)(va >> 32);
  if (s->r_lo == (((uint32_t)va & ~4095u) | 1) && (key == cpu.key || key == cpu.global_key))
    return s->base + (((uint32_t)va & 4095) >> 2);
  return tlb_miss(va, 0);
}

static inline uint32_t tlb_write(uint64_t va)
{
  struct slot *s = &tlb[va >> 12 & 255];
  uint32_t key = s->w_hi ^ (uint32_t)(va >> 32);
  if (s->w_lo == (((uint32_t)va & ~4095u) | 1) && (key == cpu.key || key == cpu.global_key))
    return s->base + (((uint32_t)va & 4095) >> 2);
  return tlb_miss(va, 2);
}

static void serve_request(void)
{
  fprintf(stderr, "nobody asks anything here\n");
  exit(1);
}

/* A guest's aligned 64-bit load and store: requests first, then the TLB. */
static inline uint64_t guest_load(uint64_t va)
{
  if (__builtin_expect(atomic_load_explicit(&cpu.request, memory_order_relaxed) != 0, 0))
    serve_request();
  return atomic_load_explicit((_Atomic uint64_t *)(words + tlb_read(va)), memory_order_relaxed);
}
static inline void guest_store(uint64_t va, uint64_t value)
{
  if (__builtin_expect(atomic_load_explicit(&cpu.request, memory_order_relaxed) != 0, 0))
    serve_request();
  atomic_store_explicit((_Atomic uint64_t *)(words + tlb_write(va)), value, memory_order_relaxed);
}
