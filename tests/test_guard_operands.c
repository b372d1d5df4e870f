/* SPDX-License-Identifier: MIT
 * Guard pages around everything that is optional in a forward call: the table and the cases are
 * those of guard_operand.h. */
enum { OPERAND_STEP = 3, OPERAND_LSE = 1 };
#include "guard_operand.h"

static void operand_go(guard_case *c)
{
    guard_run(c);
}

static void operand_more(guard_case *c, int turn)
{
    (void)c, (void)turn;
}

int main(void)
{
    struct CMUnitTest tests[OPERAND_TESTS];
    operand_tests(tests);
    return cmocka_run_group_tests_name("guard_operands", tests, guard_setup, guard_finish);
}
