/* Twin of bench/teardown.ts. */
#include "hyper.h"

static struct tree base, other;
static uint32_t entries, batch, *data;

static void refill(void)
{
  for (uint32_t i = 0; i < entries; i++)
    *slot_of(other.l1[i / 512], i % 512) = (uint64_t)data[i] << 12 | 0x67;
}
static void repin(void)
{
  static int pinned;
  if (pinned && unpin(other.l4, 1))
    abort();
  refill();
  if (pin(other.l4, LEVEL(4), 1))
    abort();
  pinned = 1;
}

static uint32_t stores(void)
{
  for (uint32_t n = 0; n < other.n1; n++)
    for (unsigned i = 0; i < 512; i++)
      guest_store((ALIAS_VA + 4096ull * n + 8 * i) & VA48, 0);
  return 0;
}

static uint32_t updates(void)
{
  for (uint32_t n = 0; n < other.n1; n++)
    for (unsigned i = 0; i < 512; i += batch) {
      for (unsigned k = 0; k < batch; k++) {
        guest_store((ARGUMENT_VA + 16 * k) & VA48, (uint64_t)other.l1[n] << 12 | 8 * (i + k));
        guest_store((ARGUMENT_VA + 16 * k + 8) & VA48, 0);
      }
      regs.arg[0] = ARGUMENT_VA;
      regs.arg[1] = batch;
      if (hypercall(mmu_update))
        abort();
    }
  return 0;
}

/* 32 separate locked updates, without gate and arguments: what a batch is measured against. */
static uint32_t direct(void)
{
  for (uint32_t n = 0; n < other.n1; n++)
    for (unsigned i = 0; i < 512; i++)
      if (one_update((uint64_t)other.l1[n] << 12 | 8 * i, 0))
        abort();
  return 0;
}

static uint32_t counts(void) { return type_counts(data, entries); }
static uint32_t present(void)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < entries; i++)
    n += *slot_of(other.l1[i / 512], i % 512) & P;
  return n;
}

int main(int argc, char **argv)
{
  entries = (uint32_t)atoi(argv[1]);
  const char *how = strchr(argv[1], ' ') + 1;
  int plain = !strcmp(how, "stores");
  batch = (uint32_t)atoi(how);
  machine((unsigned)atoi(argv[argc - 1]));
  data = malloc(entries * sizeof *data);
  for (uint32_t i = 0; i < entries; i++)
    data[i] = take();
  base = lay_tree(data, entries);
  other = lay_tree(data, entries);
  lay_kernel(base.l4, other.l1, plain ? other.n1 : 0);
  own_frames(data, entries);
  for (uint32_t i = 0; i < other.n1; i++)
    frame[other.l1[i]].type = plain ? WRITABLE | VALIDATED : 0;
  if (pin(base.l4, LEVEL(4), 1))
    abort();
  start(base.l4);
  check = plain ? present : counts;
  return serve(plain ? refill : repin, plain ? stores : !strcmp(how, "direct") ? direct : updates, entries);
}
