/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/lesson.h"
#include "cli/cli.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *title;
    bp_lesson_page *show;
} pages[BP_LESSON_PAGES] = {
    {"The chain rule multiplies", bp_lesson_factors},
    {"An update that changes nothing", bp_lesson_update},
    {"From large to NaN", bp_lesson_overflow},
    {"Weights decide which", bp_lesson_scales},
    {"Which gradient does a model suffer from?", bp_lesson_table},
    {"Learnt by heart", bp_lesson_overfitting},
};

void bp_lesson_say(bp_page *page, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    bp_page_wrap(page, BP_INK_PLAIN, 0, text,
                 n < 0                     ? 0
                 : (size_t)n < sizeof text ? (size_t)n
                                           : sizeof text - 1);
    bp_page_end_line(page);
}

void bp_lesson_space(bp_page *page) {
    bp_page_end_line(page);
}

void bp_lesson_bar(bp_page *page, bp_ink ink, int columns, double part) {
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    char bar[3 * 80 + 4] = "";
    if (columns > 78) columns = 78;
    const double clipped = part > 1 ? 1 : part > 0 ? part : 0;
    const int units = (int)(8 * columns * clipped + 0.5);
    for (int i = 0; i < units / 8; i++) strcat(bar, "█");
    strcat(bar, eighths[units % 8]);
    bp_page_cell(page, ink, columns, false, bar);
}

/* False when the reader has seen enough. */
static bool wait_for_reader(void) {
    char answer[64];
    fputs("\n— Enter goes on, q leaves —", stdout);
    fflush(stdout);
    if (!fgets(answer, sizeof answer, stdin)) {
        putchar('\n');
        return false;
    }
    return answer[0] != 'q' && answer[0] != 'Q';
}

static bp_status show(const bp_report_style *style, int64_t number, bp_error *error) {
    bp_page page = bp_page_begin(stdout, style);
    bp_page_add(&page, BP_INK_BOLD, "%d/%d  %s", (int)number, BP_LESSON_PAGES,
                pages[number - 1].title);
    bp_page_end_line(&page);
    bp_lesson_space(&page);
    const bp_status status = pages[number - 1].show(&page, error);
    fflush(stdout);
    return status;
}

int bp_lesson(const bp_common_options *common, bool pause, int64_t only) {
    bp_report_style style = bp_style_of(stdout, common);
    const int64_t first = only ? only : 1, last = only ? only : BP_LESSON_PAGES;
    if (style.width > 80) style.width = 80;
    pause = pause && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    for (int64_t number = first; number <= last; number++) {
        bp_error error = {.status = BP_OK};
        if (show(&style, number, &error) != BP_OK) {
            bp_say_error(NULL, &error);
            return BP_EXIT_FAILED;
        }
        if (number == last) break;
        if (pause && !wait_for_reader()) return BP_EXIT_GOOD;
        putchar('\n');
    }
    return BP_EXIT_GOOD;
}
