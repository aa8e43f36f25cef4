/* SPDX-License-Identifier: Apache-2.0 */
/* Text under construction and the text of numbers. The host may run under any LC_NUMERIC and
 * changing it is not ours: no decimal separator ever passes through the C library. Numbers go out
 * as digits and an exponent and come in as a whole number and an exponent. */
#include "base/base.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bp_text_init(bp_text *text, char *bytes, size_t capacity) {
    *text = (bp_text){.bytes = bytes, .capacity = capacity, .cut = capacity == 0};
    if (capacity) bytes[0] = '\0';
}

void bp_text_add(bp_text *text, const char *format, ...) {
    if (text->cut) return;
    size_t room = text->capacity - text->length;
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(text->bytes + text->length, room, format, arguments);
    va_end(arguments);
    if (wanted >= 0 && (size_t)wanted < room) {
        text->length += (size_t)wanted;
        return;
    }
    text->cut = true;
    if (wanted >= 0) {
        text->length = text->capacity - 1;
        /* Not in the middle of a UTF-8 sequence: back over its tail and its first byte. */
        size_t at = text->length;
        while (at > 0 && ((unsigned char)text->bytes[at - 1] & 0xC0u) == 0x80u) at--;
        if (at > 0 && (unsigned char)text->bytes[at - 1] >= 0xC0u) text->length = at - 1;
    }
    text->bytes[text->length] = '\0';
}

void bp_text_add_number(bp_text *text, double value, int digits) {
    char number[32];
    bp_text_add(text, "%s", bp_number_text(number, sizeof number, value, digits));
}

enum { MAX_DIGITS = 17 };

/* value = 0.d1 d2 d3 ... * 10^(exponent + 1), without trailing zeros. */
typedef struct decimal {
    char digits[MAX_DIGITS + 1];
    int n_digits;
    int exponent;
} decimal;

static decimal to_decimal(double magnitude, int n_digits) {
    char printed[64];
    snprintf(printed, sizeof printed, "%.*e", n_digits - 1, magnitude);
    decimal out = {.n_digits = 0};
    const char *at = printed;
    for (; *at != 'e' && *at != '\0'; at++) /* skips the separator, whatever it is */
        if (*at >= '0' && *at <= '9' && out.n_digits < MAX_DIGITS) out.digits[out.n_digits++] = *at;
    if (*at == 'e') out.exponent = (int)strtol(at + 1, NULL, 10);
    while (out.n_digits > 1 && out.digits[out.n_digits - 1] == '0') out.n_digits--;
    out.digits[out.n_digits] = '\0';
    return out;
}

/* Plain below 10^plain_below and down to 10^-4, with an exponent beyond. */
static char *lay_out(char *bytes, size_t capacity, bool negative, const decimal *number,
                     int plain_below) {
    bp_text text;
    bp_text_init(&text, bytes, capacity);
    bp_text_add(&text, "%s", negative ? "-" : "");
    int whole = number->exponent + 1; /* digits before the point */
    if (number->exponent < -4 || number->exponent >= plain_below) {
        bp_text_add(&text, "%c%s%se%d", number->digits[0], number->n_digits > 1 ? "." : "",
                    number->digits + 1, number->exponent);
    } else if (whole <= 0) {
        bp_text_add(&text, "0.%.*s%s", -whole, "0000", number->digits);
    } else if (whole >= number->n_digits) {
        bp_text_add(&text, "%s%.*s", number->digits, whole - number->n_digits, "00000000000000000");
    } else {
        bp_text_add(&text, "%.*s.%s", whole, number->digits, number->digits + whole);
    }
    return bytes;
}

static char *non_finite_text(char *bytes, size_t capacity, double value) {
    snprintf(bytes, capacity, "%s", isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
    return bytes;
}

char *bp_number_text(char *bytes, size_t capacity, double value, int digits) {
    if (!isfinite(value)) return non_finite_text(bytes, capacity, value);
    if (digits < 1) digits = 1;
    if (digits > MAX_DIGITS) digits = MAX_DIGITS;
    decimal number = to_decimal(fabs(value), digits);
    bool negative = value < 0; /* people read -0 as a misprint */
    return lay_out(bytes, capacity, negative, &number, digits > 6 ? digits : 6);
}

/* Reads digits * 10^exponent; the C library sees no separator. */
static double from_decimal(const char *digits, int64_t exponent, bool negative) {
    char text[896];
    snprintf(text, sizeof text, "%s%se%lld", negative ? "-" : "", digits, (long long)exponent);
    int kept_errno = errno;
    double value = strtod(text, NULL);
    errno = kept_errno;
    return value;
}

char *bp_number_exact(char *bytes, size_t capacity, double value) {
    if (!isfinite(value)) return non_finite_text(bytes, capacity, value);
    double magnitude = fabs(value);
    decimal number = {.n_digits = 0};
    for (int n_digits = 1; n_digits <= MAX_DIGITS; n_digits++) {
        number = to_decimal(magnitude, n_digits);
        double back = from_decimal(number.digits, number.exponent + 1 - number.n_digits, false);
        if (memcmp(&back, &magnitude, sizeof back) == 0) break;
    }
    return lay_out(bytes, capacity, signbit(value), &number, 16);
}

/* More digits than any double's midpoint has: the rest only matters by not being zero. */
enum { MAX_PARSED_DIGITS = 800 };

typedef struct mantissa {
    char digits[MAX_PARSED_DIGITS + 2];
    size_t n_digits;
    int64_t exponent; /* value = digits * 10^exponent */
    bool any, sticky;
} mantissa;

static const char *parse_digits(const char *at, mantissa *number, bool fraction) {
    for (; *at >= '0' && *at <= '9'; at++) {
        number->any = true;
        bool leading_zero = *at == '0' && number->n_digits == 0;
        if (!leading_zero && number->n_digits < MAX_PARSED_DIGITS) {
            number->digits[number->n_digits++] = *at;
            number->exponent -= fraction;
        } else if (leading_zero) {
            number->exponent -= fraction;
        } else {
            number->sticky |= *at != '0';
            number->exponent += !fraction;
        }
    }
    return at;
}

bool bp_parse_number(const char *text, double *value) {
    mantissa number = {.n_digits = 0};
    bool negative = *text == '-';
    if (*text == '-' || *text == '+') text++;
    text = parse_digits(text, &number, false);
    if (*text == '.') text = parse_digits(text + 1, &number, true);
    if (!number.any) return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        bool down = *text == '-';
        if (*text == '-' || *text == '+') text++;
        if (*text < '0' || *text > '9') return false;
        int64_t exponent = 0;
        for (; *text >= '0' && *text <= '9'; text++)
            if (exponent < INT64_C(1000000000000)) exponent = exponent * 10 + (*text - '0');
        number.exponent += down ? -exponent : exponent;
    }
    if (*text != '\0') return false;
    if (number.sticky) {
        number.digits[number.n_digits++] = '1';
        number.exponent--;
    }
    if (number.n_digits == 0) number.digits[number.n_digits++] = '0', number.exponent = 0;
    number.digits[number.n_digits] = '\0';
    double result = from_decimal(number.digits, number.exponent, negative);
    if (!isfinite(result)) return false;
    *value = result;
    return true;
}

bool bp_parse_integer(const char *text, int64_t *value) {
    bool negative = *text == '-';
    if (*text == '-' || *text == '+') text++;
    if (*text == '\0') return false;
    uint64_t limit = (uint64_t)INT64_MAX + negative, magnitude = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (magnitude > (limit - digit) / 10) return false;
        magnitude = magnitude * 10 + digit;
    }
    *value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}
