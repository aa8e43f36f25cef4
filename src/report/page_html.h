/* SPDX-License-Identifier: Apache-2.0 */
/* The page that runs are looked at with: web/dist/page.html as it was when this was built. One
 * file, which asks a server (server), or finds its data in itself (html.c). */
#ifndef BP_REPORT_PAGE_HTML_H
#define BP_REPORT_PAGE_HTML_H

#include <stdbool.h>
#include <stddef.h>

/* Where a report puts its data; a whole page has it once. */
#define BP_PAGE_MARKER "<!--backprobe:data-->"

/* Static; a NUL stands behind the last byte. */
const char *bp_page_html(size_t *n_bytes);
/* What the page may load and run: the content security policy of its own meta, for the header. */
const char *bp_page_csp(void);
/* False: this was built without the page; what stands there says how to make it. */
bool bp_page_is_whole(void);

#endif
