/* SPDX-License-Identifier: Apache-2.0 */
/* Explain pages: one literal a line. */
#include "diagnosis/pages.h"

/* clang-format off */
const char bp_page_oscillating_loss[] =
    "What it is\n"
    "\n"
    "Why it happens\n"
    "\n"
    "How it is recognised\n"
    "\n"
    "What helps\n"
    "\n"
    "What looks like it but is not\n";

const char bp_page_loss_spike[] =
    "What it is\n"
    "\n"
    "Why it happens\n"
    "\n"
    "How it is recognised\n"
    "\n"
    "What helps\n"
    "\n"
    "What looks like it but is not\n";

const char bp_page_plateau[] =
    "What it is\n"
    "\n"
    "Why it happens\n"
    "\n"
    "How it is recognised\n"
    "\n"
    "What helps\n"
    "\n"
    "What looks like it but is not\n";

const char bp_page_slow_convergence[] =
    "What it is\n"
    "\n"
    "Why it happens\n"
    "\n"
    "How it is recognised\n"
    "\n"
    "What helps\n"
    "\n"
    "What looks like it but is not\n";

const char bp_page_constant_output[] =
    "What it is\n"
    "\n"
    "Why it happens\n"
    "\n"
    "How it is recognised\n"
    "\n"
    "What helps\n"
    "\n"
    "What looks like it but is not\n";

const char bp_page_underfitting[] =
    "What it is\n"
    "\n"
    "Why it happens\n"
    "\n"
    "How it is recognised\n"
    "\n"
    "What helps\n"
    "\n"
    "What looks like it but is not\n";

/* clang-format on */
