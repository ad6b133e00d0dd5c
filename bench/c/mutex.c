/* Twin of bench/mutex.ts: a three-state futex mutex, without order check. */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "machine.h"

enum { TIMES = 50000 };
static _Atomic uint32_t word __attribute__((aligned(64)));

static void lock_slow(void)
{
  while (atomic_exchange(&word, 2) != 0)
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}
static void wake(void) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

static uint32_t run(void)
{
  for (int i = 0; i < TIMES; i++) {
    uint32_t zero = 0;
    if (!atomic_compare_exchange_strong(&word, &zero, 1))
      lock_slow();
    if (atomic_exchange(&word, 0) == 2)
      wake();
  }
  return 0;
}

int main(void) { return serve(NULL, run, TIMES); }
