/* policy/table: a policy for people, as docs/syscalls.md has it.  Prints to standard output. */
#ifndef POLICY_TABLE_H
#define POLICY_TABLE_H

#include "policy.h"

void table_print(const struct policy *p);

#endif
