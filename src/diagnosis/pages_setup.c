/* SPDX-License-Identifier: Apache-2.0 */
/* Explain pages: one literal a line. */
#include "diagnosis/pages.h"

/* clang-format off */
const char bp_page_input_not_normalised[] =
    "What it is\n"
    "\n"
    "Why it happens\n"
    "\n"
    "How it is recognised\n"
    "\n"
    "What helps\n"
    "\n"
    "What looks like it but is not\n";

const char bp_page_labels_out_of_range[] =
    "What it is\n"
    "\n"
    "Why it happens\n"
    "\n"
    "How it is recognised\n"
    "\n"
    "What helps\n"
    "\n"
    "What looks like it but is not\n";

const char bp_page_wrong_last_layer[] =
    "What it is\n"
    "\n"
    "Why it happens\n"
    "\n"
    "How it is recognised\n"
    "\n"
    "What helps\n"
    "\n"
    "What looks like it but is not\n";

const char bp_page_frozen_parameter[] =
    "What it is\n"
    "\n"
    "Why it happens\n"
    "\n"
    "How it is recognised\n"
    "\n"
    "What helps\n"
    "\n"
    "What looks like it but is not\n";

const char bp_page_unused_parameter[] =
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
