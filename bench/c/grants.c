/* Twin of bench/grants.ts: grant_table_op map and unmap of version 1 entries, src/hypervisor/grant. */
#include "hyper.h"

enum { REFS = 64, FIRST_REF = 8, PAIRS = 1024, CPUS = 65, MAPPER = 1, GRANTER = 2 };
enum { MAP = 0, UNMAP = 1, HOST_MAP = 2, READONLY = 4 };
enum { OKAY = 0, GENERAL = -1, BAD_DOMAIN = -2, BAD_GNTREF = -3, BAD_HANDLE = -4, BAD_PAGE = -9, NO_SPACE = -13 };
enum { GTF_PERMIT = 1, GTF_READONLY = 4, GTF_READING = 8, GTF_WRITING = 16, GTF_SUB_PAGE = 256 };
#define HSTW 1u

struct line {
  _Atomic uint32_t word;
  uint32_t pad[15];
};
struct rwlock {
  struct line writer, reader[CPUS];
};
struct active {
  _Atomic uint32_t lock;
  uint32_t pin, domid, range, trans_ref, trans_domain, mfn, pad;
};
struct mapping {
  _Atomic uint32_t ref, flags, domid, vcpu;
};
struct free_list {
  _Atomic uint32_t lock;
  uint32_t head, tail, seed, pad[12];
};
struct grant_table {
  struct rwlock lock;
  uint32_t version, entries;
  uint32_t shared_mfn;
  struct active *active;
  struct mapping *map;
  _Atomic uint32_t limit;
  struct free_list free;
};
struct domain {
  _Atomic uint32_t key;
  uint32_t domid;
  struct grant_table *gt;
};
static struct domain domains[16];
static const uint32_t me = 1;

static struct domain *find_domain(uint32_t domid)
{
  for (unsigned i = 0; i < 16; i++) {
    struct domain *d = &domains[(domid + i) % 16];
    if (atomic_load(&d->key) == domid + 1)
      return d;
  }
  return NULL;
}

/* Futex mutex: free, owner, owner with waiters. Nobody waits here. */
static inline void lock(_Atomic uint32_t *a)
{
  uint32_t zero = 0;
  if (!atomic_compare_exchange_strong(a, &zero, me + 1))
    abort();
}
static inline void unlock(_Atomic uint32_t *a)
{
  if (atomic_exchange(a, 0) != me + 1)
    abort();
}
static inline void read_lock(struct rwlock *l)
{
  atomic_store(&l->reader[me].word, 1);
  if (atomic_load(&l->writer.word))
    abort();
}
static inline void read_unlock(struct rwlock *l) { atomic_store(&l->reader[me].word, 0); }

#define NO_HANDLE 0xffffffffu
static uint32_t take_handle(struct grant_table *gt)
{
  lock(&gt->free.lock);
  uint32_t head = gt->free.head;
  if (head != NO_HANDLE) {
    uint32_t next = atomic_load_explicit(&gt->map[head].ref, memory_order_relaxed);
    if (next == NO_HANDLE)
      head = NO_HANDLE;
    else
      gt->free.head = next;
  }
  unlock(&gt->free.lock);
  return head;
}
static void put_handle(struct grant_table *gt, uint32_t handle)
{
  atomic_store_explicit(&gt->map[handle].ref, NO_HANDLE, memory_order_relaxed);
  lock(&gt->free.lock);
  uint32_t tail = gt->free.tail;
  gt->free.tail = handle;
  atomic_store_explicit(&gt->map[tail].ref, handle, memory_order_relaxed);
  unlock(&gt->free.lock);
}

static inline _Atomic uint32_t *shared_entry(struct grant_table *gt, uint32_t ref)
{
  return (_Atomic uint32_t *)page_of(gt->shared_mfn) + 2 * ref;
}

static int claim(_Atomic uint32_t *shah, uint32_t pin, uint32_t domid)
{
  uint32_t header = atomic_load(shah);
  for (int i = 0; i < 5; i++) {
    if (pin == 0 && (header >> 16 != domid || (header & (3 | GTF_SUB_PAGE)) != GTF_PERMIT))
      return GENERAL;
    if (header & GTF_READONLY)
      return GENERAL;
    if (atomic_compare_exchange_strong(shah, &header, header | GTF_READING | GTF_WRITING))
      return OKAY;
  }
  return GENERAL;
}
static void reduce(_Atomic uint32_t *shah, uint32_t pin)
{
  uint32_t bits = (pin & (0xff | 0xff0000) ? 0 : GTF_WRITING) | (pin ? 0 : GTF_READING);
  if (bits)
    atomic_fetch_and(shah, ~bits);
}

/* The slot of the L1 entry for a kernel or user address, through the tables; 0: none. */
static uint64_t *map_guest_l1e(uint64_t va)
{
  uint32_t table = cpu.cr3;
  for (int level = 4; level > 1; level--) {
    uint64_t e = atomic_load((_Atomic uint64_t *)slot_of(table, va >> (3 + 9 * level) & 511));
    if ((e & (P | PSE)) != P || (e & FRAME_HI) || (uint32_t)e >> 12 >= frames)
      return NULL;
    table = (uint32_t)e >> 12;
  }
  return slot_of(table, va >> 12 & 511);
}
static inline uint32_t slot_mfn(uint64_t *slot) { return (uint32_t)(((uint32_t *)slot - words) >> 10); }

static bool lock_slot(uint64_t *slot)
{
  if (!slot || !get_page(slot_mfn(slot), MAPPER))
    return false;
  if (page_lock(slot_mfn(slot))) {
    if ((atomic_load(&frame[slot_mfn(slot)].type) & TYPE) == LEVEL(1))
      return true;
    page_unlock(slot_mfn(slot));
  }
  put_page(slot_mfn(slot));
  return false;
}
static void unlock_slot(uint64_t *slot)
{
  page_unlock(slot_mfn(slot));
  put_page(slot_mfn(slot));
}
static inline uint64_t grant_l1e(uint32_t mfn) { return (uint64_t)mfn << 12 | P | ACCESSED | DIRTY | RW | NX; }

static int install(uint64_t va, uint32_t mfn)
{
  uint64_t *slot = map_guest_l1e(va);
  if (!lock_slot(slot))
    return GENERAL;
  uint64_t old = atomic_load((_Atomic uint64_t *)slot);
  regs.pte_writes++;
  atomic_store((_Atomic uint64_t *)slot, adjust_l1e(grant_l1e(mfn)));
  unlock_slot(slot);
  put_l1e(old);
  return OKAY;
}
static int zap(uint64_t va, uint32_t mfn)
{
  uint64_t *slot = map_guest_l1e(va);
  if (!lock_slot(slot))
    return GENERAL;
  uint64_t old = atomic_load((_Atomic uint64_t *)slot);
  bool same = !(old & FRAME_HI) && (uint32_t)old >> 12 == mfn && ((old ^ grant_l1e(mfn)) & (P | RW)) == 0;
  if (same) {
    regs.pte_writes++;
    atomic_store((_Atomic uint64_t *)slot, 0);
  }
  unlock_slot(slot);
  return same ? OKAY : GENERAL;
}

struct map_op {
  uint64_t host_addr;
  uint32_t flags, ref;
  uint16_t dom;
  int16_t status;
  uint32_t handle;
  uint64_t dev;
};
struct unmap_op {
  uint64_t host_addr, dev;
  uint32_t handle;
  int16_t status, pad;
};

static int map_one(struct map_op *op)
{
  struct domain *granter = find_domain(op->dom), *mapper = find_domain(MAPPER);
  if (!(op->flags & HOST_MAP))
    return BAD_GNTREF;
  if (!granter)
    return BAD_DOMAIN;
  uint32_t handle = take_handle(mapper->gt);
  if (handle == NO_HANDLE)
    return NO_SPACE;
  struct grant_table *rgt = granter->gt;
  bool got = false;
  int status = OKAY;
  read_lock(&rgt->lock);
  if (op->ref >= rgt->entries) {
    read_unlock(&rgt->lock);
    put_handle(mapper->gt, handle);
    return BAD_GNTREF;
  }
  _Atomic uint32_t *shah = shared_entry(rgt, op->ref);
  struct active *act = &rgt->active[op->ref];
  lock(&act->lock);
  if (act->pin && (act->domid != MAPPER || (act->pin & HSTW << 7)))
    status = GENERAL;
  else if (act->pin == 0 || !(act->pin & (0xff | 0xff0000))) {
    uint32_t pin = act->pin;
    status = claim(shah, pin, MAPPER);
    if (status == OKAY && pin == 0) {
      uint32_t mfn = atomic_load(shah + 1);
      got = mfn < frames && get_page(mfn, GRANTER);
      if (got) {
        act->domid = MAPPER;
        act->mfn = mfn;
        act->range = 4096u << 16;
        act->trans_domain = GRANTER;
        act->trans_ref = op->ref;
      } else {
        reduce(shah, 0);
        status = BAD_PAGE;
      }
    }
  }
  if (status == OKAY)
    act->pin += HSTW;
  uint32_t mfn = act->mfn;
  unlock(&act->lock);
  read_unlock(&rgt->lock);
  if (status == OKAY) {
    if (!got && (!get_page_any(mfn) || (frame[mfn].owner & 0xffff) != GRANTER))
      abort();
    if (get_type(mfn, WRITABLE, GRANTER))
      abort();
    status = install(op->host_addr, mfn);
    if (status)
      abort(); /* the benches map where they may */
    struct mapping *m = &mapper->gt->map[handle];
    atomic_store(&m->domid, op->dom);
    atomic_store(&m->ref, op->ref);
    atomic_store(&m->flags, op->flags);
    op->dev = (uint64_t)mfn << 12;
    op->handle = handle;
  } else
    put_handle(mapper->gt, handle);
  return status;
}

struct undo {
  uint32_t done, mfn, ref;
  struct domain *granter;
};

static int unmap_one(struct unmap_op *op, struct undo *u)
{
  u->done = 0;
  struct grant_table *lgt = find_domain(MAPPER)->gt;
  if (op->handle >= atomic_load(&lgt->limit))
    return BAD_HANDLE;
  struct mapping *m = &lgt->map[op->handle];
  if (!atomic_load(&m->flags))
    return BAD_HANDLE;
  uint32_t domid = atomic_load(&m->domid), ref = atomic_load(&m->ref);
  u->granter = find_domain(domid);
  if (!u->granter)
    abort();
  u->ref = ref;
  struct grant_table *rgt = u->granter->gt;
  bool freed = false;
  int status = BAD_HANDLE;
  read_lock(&rgt->lock);
  if (ref < rgt->entries) {
    struct active *act = &rgt->active[ref];
    lock(&act->lock);
    uint32_t flags = atomic_load(&m->flags);
    if (flags && atomic_load(&m->domid) == domid && atomic_load(&m->ref) == ref) {
      u->mfn = act->mfn;
      status = zap(op->host_addr, act->mfn);
      if (status == OKAY) {
        atomic_store(&m->flags, flags & ~HOST_MAP);
        u->done = HOST_MAP;
        if (!(flags & ~HOST_MAP)) {
          atomic_store(&m->flags, 0);
          freed = true;
        }
      }
    }
    unlock(&act->lock);
  }
  read_unlock(&rgt->lock);
  if (freed)
    put_handle(lgt, op->handle);
  return status;
}
static void complete(struct undo *u)
{
  if (!u->done)
    return;
  struct grant_table *rgt = u->granter->gt;
  read_lock(&rgt->lock);
  struct active *act = &rgt->active[u->ref];
  lock(&act->lock);
  put_type(u->mfn);
  put_page(u->mfn);
  act->pin -= HSTW;
  reduce(shared_entry(rgt, u->ref), act->pin);
  unlock(&act->lock);
  read_unlock(&rgt->lock);
}

static int64_t grant_table_op(void)
{
  union {
    struct map_op map;
    struct unmap_op unmap;
    uint32_t w[8];
  } op;
  uint64_t at = regs.arg[1];
  unsigned count = (unsigned)regs.arg[2];
  if (regs.arg[0] == MAP) {
    for (unsigned i = 0; i < count; i++) {
      copy_guest(at + 32 * i, op.w, 8, false);
      op.map.status = (int16_t)map_one(&op.map);
      copy_guest(at + 32 * i, op.w, 8, true);
    }
    return 0;
  }
  struct undo undo[32];
  for (unsigned i = 0; i < count; i++) {
    copy_guest(at + 24 * i, op.w, 6, false);
    op.unmap.status = (int16_t)unmap_one(&op.unmap, &undo[i]);
    copy_guest(at + 24 * i + 20, op.w + 5, 1, true);
  }
  tlb_flush_local();
  for (unsigned i = 0; i < count; i++)
    complete(&undo[i]);
  return 0;
}

static uint32_t pairs(void)
{
  uint32_t sum = 0;
  uint64_t at = ARGUMENT_VA & VA48, unmap = at + 64;
  for (unsigned i = 0; i < PAIRS; i++) {
    uint64_t va = (100 + (i & 63)) * 4096;
    guest_store(at, va);
    guest_store(at + 8, HOST_MAP | (uint64_t)(FIRST_REF + i % REFS) << 32);
    words[tlb_write(at + 16)] = GRANTER;
    regs.arg[0] = MAP;
    regs.arg[1] = ARGUMENT_VA;
    regs.arg[2] = 1;
    hypercall(grant_table_op);
    uint32_t handle = words[tlb_read(at + 20)];
    if (words[tlb_read(at + 16)] >> 16)
      abort();
    sum += handle;
    guest_store(unmap, va);
    guest_store(unmap + 8, 0);
    guest_store(unmap + 16, handle);
    regs.arg[0] = UNMAP;
    regs.arg[1] = ARGUMENT_VA + 64;
    hypercall(grant_table_op);
    if (words[tlb_read(unmap + 20)] << 16)
      abort();
  }
  return sum;
}

/* The same without gate, arguments and copies. */
static uint32_t direct_pairs(void)
{
  uint32_t sum = 0;
  for (unsigned i = 0; i < PAIRS; i++) {
    uint64_t va = (100 + (i & 63)) * 4096;
    struct map_op map = {va, HOST_MAP, FIRST_REF + i % REFS, GRANTER, 0, 0, 0};
    if (map_one(&map))
      abort();
    sum += map.handle;
    struct unmap_op unmap = {va, 0, map.handle, 0, 0};
    struct undo u;
    if (unmap_one(&unmap, &u))
      abort();
    tlb_flush_local();
    complete(&u);
  }
  return sum;
}

static struct grant_table *make_table(uint32_t entries)
{
  struct grant_table *gt = aligned_alloc(64, (sizeof *gt + 63) & ~(size_t)63);
  memset(gt, 0, sizeof *gt);
  gt->version = 1;
  gt->entries = entries;
  gt->shared_mfn = take();
  gt->active = calloc(entries, sizeof *gt->active);
  gt->map = calloc(256, sizeof *gt->map);
  gt->limit = 256;
  for (unsigned i = 0; i < 256; i++)
    gt->map[i].ref = i == 255 ? NO_HANDLE : i + 1;
  gt->free.tail = 255;
  return gt;
}

int main(int argc, char **argv)
{
  machine((unsigned)atoi(argv[argc - 1]));
  uint32_t data = take(), granted[REFS];
  struct tree base = lay_tree(&data, 1);
  lay_kernel(base.l4, NULL, 0);
  for (unsigned i = 0; i < REFS; i++)
    granted[i] = take();
  for (unsigned i = 1; i < 3; i++)
    domains[i] = (struct domain){i + 1, i, make_table(512)};
  own_frames(&data, 1);
  for (unsigned i = 0; i < REFS; i++) {
    frame[granted[i]].owner = GRANTER;
    frame[granted[i]].type = WRITABLE | VALIDATED;
    shared_entry(domains[2].gt, FIRST_REF + i)[1] = granted[i];
    shared_entry(domains[2].gt, FIRST_REF + i)[0] = GTF_PERMIT | MAPPER << 16;
  }
  if (pin(base.l4, LEVEL(4), MAPPER))
    abort();
  start(base.l4);
  return serve(NULL, strcmp(argv[1], "direct") ? pairs : direct_pairs, PAIRS);
}
