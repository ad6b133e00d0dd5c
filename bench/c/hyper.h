/* The gate and mmu_update: src/vcpu/border.ts, src/hypervisor/{gate,copy,mmu-update}.ts. */
#include "frames.h"

enum { MODE_GUEST = 1, MODE_HYPERVISOR = 2, MODE_ACCESS = 4 };
enum { REQ_FLUSH = 1, REQ_PAUSE = 4, REQ_KILL = 8 };
#define KERNEL (300ull << 39)
#define TEXT_VA (KERNEL | 0xffff000000000000ull)
#define ARGUMENT_VA (TEXT_VA + 2 * 4096)
#define ALIAS_VA (TEXT_VA + 16 * 4096)
static const uint64_t VA48 = 0xffffffffffffull;

static struct {
  uint64_t arg[6];
  int64_t rax;
  uint32_t old_table, locked_page, beat, hypercalls, pte_writes;
  _Atomic uint32_t doing;
  _Atomic uint32_t flush_time;
} regs __attribute__((aligned(64)));

static inline void tlb_flush_local(void)
{
  uint32_t t = atomic_load(&flush_clock);
  while (!atomic_compare_exchange_weak(&flush_clock, &t, t + 1))
    ;
  cpu.key += 2 << 16;
  cpu.global_key += 2 << 16;
  if (cpu.key < (4u << 16))
    memset(tlb, 0, sizeof tlb);
  atomic_store(&regs.flush_time, t + 1);
}

/* The mode, then the request: both halves of the handshake. */
static inline void set_mode(uint32_t mode)
{
  atomic_store(&cpu.mode, mode);
  if (__builtin_expect(atomic_load(&cpu.request) & REQ_FLUSH, 0)) {
    tlb_flush_local();
    atomic_fetch_and(&cpu.request, ~REQ_FLUSH);
  }
}

static inline bool copy_guest(uint64_t va, uint32_t *own, unsigned n, bool to_guest)
{
  if (va & 3)
    return false;
  va &= VA48;
  set_mode(MODE_ACCESS);
  while (n > 0) {
    unsigned piece = (4096 - (va & 4095)) / 4;
    if (piece > n)
      piece = n;
    uint32_t *w = words + (to_guest ? tlb_write(va) : tlb_read(va));
    for (unsigned i = 0; i < piece; i++)
      if (to_guest)
        w[i] = own[i];
      else
        own[i] = ((volatile uint32_t *)w)[i];
    own += piece;
    va += 4 * piece;
    n -= piece;
  }
  set_mode(MODE_HYPERVISOR);
  return true;
}

static inline bool page_lock(uint32_t mfn)
{
  uint64_t x = atomic_load(&frame[mfn].both);
  for (;;) {
    uint32_t type = (uint32_t)(x >> 32);
    if ((uint32_t)x & LOCKED) {
      x = atomic_load(&frame[mfn].both);
      continue;
    }
    if (!(type & VALIDATED) || !(type & COUNT) || (type & COUNT) == COUNT)
      return false;
    if (atomic_compare_exchange_weak(&frame[mfn].both, &x, (x | LOCKED) + (1ull << 32)))
      break;
  }
  regs.locked_page = mfn + 1;
  return true;
}
static inline void page_unlock(uint32_t mfn)
{
  uint64_t x = atomic_load(&frame[mfn].both);
  regs.locked_page = 0;
  while (!atomic_compare_exchange_weak(&frame[mfn].both, &x, (x & ~(uint64_t)LOCKED) - (1ull << 32)))
    ;
}

/* Bits that may change without a look at references. */
#define FAST (0xe00ull | GLOBAL | DIRTY | ACCESSED | US | NX | 0x7ff0000000000000ull)

static int mod_l1(uint64_t *slot, uint64_t e)
{
  uint64_t old = atomic_load((_Atomic uint64_t *)slot);
  if (e & P) {
    if (e & 0x98)
      return -EINVAL;
    e = adjust_l1e(e);
    if (!((old ^ e) & ~FAST)) {
      regs.pte_writes++;
      atomic_store((_Atomic uint64_t *)slot, e);
      return 0;
    }
    int rc = get_l1e(e, 1);
    if (rc)
      return rc;
  }
  regs.pte_writes++;
  atomic_store((_Atomic uint64_t *)slot, e);
  put_l1e(old);
  return 0;
}

static int one_update(uint64_t ptr, uint64_t val)
{
  unsigned command = ptr & 7;
  uint32_t mfn = (uint32_t)(ptr >> 12);
  if (command > 0)
    return -EINVAL; /* the benches make normal updates */
  if (ptr >> 12 >= frames || !get_page(mfn, 1))
    return -EINVAL;
  int rc = -EINVAL;
  if (page_lock(mfn)) {
    if ((atomic_load(&frame[mfn].type) & TYPE) == LEVEL(1))
      rc = mod_l1(slot_of(mfn, ptr >> 3 & 511), val);
    page_unlock(mfn);
  }
  put_page(mfn);
  return rc;
}

static bool preempt_check(void) { return atomic_load_explicit(&cpu.request, memory_order_relaxed) != 0; }

__attribute__((unused)) static int64_t mmu_update(void)
{
  if (regs.old_table)
    abort();
  uint64_t base = regs.arg[0];
  unsigned count = (unsigned)regs.arg[1];
  int rc = 0;
  for (unsigned i = 0; i < count && !rc; i++) {
    uint64_t request[2];
    if (regs.old_table || (i > 0 && preempt_check()))
      abort();
    if (!copy_guest(base + 16 * i, (uint32_t *)request, 4, false))
      return -14;
    rc = one_update(request[0], request[1]);
  }
  return rc;
}

/* Through the gate and back: modes, who is inside, the kernel's next instruction. */
static inline int64_t hypercall(int64_t (*call)(void))
{
  set_mode(MODE_HYPERVISOR);
  if (cpu.request & (REQ_PAUSE | REQ_KILL))
    abort();
  regs.hypercalls++;
  regs.beat++;
  atomic_store(&regs.doing, 2);
  regs.rax = call();
  atomic_store(&regs.doing, 0);
  set_mode(MODE_GUEST);
  tlb_read(TEXT_VA & VA48);
  return regs.rax;
}

/* Kernel pages of the base: text, stack, arguments; and aliases of `n` tables. */
static void lay_kernel(uint32_t l4, const uint32_t *aliases, uint32_t n)
{
  uint32_t l3 = take(), l2 = take(), l1 = take();
  *slot_of(l4, 300) = (uint64_t)l3 << 12 | 0x67;
  *slot_of(l3, 0) = (uint64_t)l2 << 12 | 0x67;
  *slot_of(l2, 0) = (uint64_t)l1 << 12 | 0x67;
  *slot_of(l1, 0) = (uint64_t)take() << 12 | 0x65 | KERNEL_BIT;
  for (unsigned i = 1; i < 6; i++)
    *slot_of(l1, i) = (uint64_t)take() << 12 | 0x67 | KERNEL_BIT;
  for (unsigned i = 0; i < n; i++)
    *slot_of(l1, 16 + i) = (uint64_t)aliases[i] << 12 | 0x67 | KERNEL_BIT;
}

static void start(uint32_t root)
{
  cpu.cr3 = root;
  cpu.key = 1 << 16;
  cpu.global_key = 2 << 16;
  cpu.mode = MODE_GUEST;
}
