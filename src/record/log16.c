/* SPDX-License-Identifier: Apache-2.0 */
/* The 16-bit logarithm of a magnitude. Code c = 1 + k stands for 2^(k / 228 - 152). Tables and
 * exact bit operations only: libm's log2 may differ by a bit from machine to machine, and logs of
 * two machines are compared. */
#include "record/log16.h"
#include "record/record.h"

#include <math.h>
#include <string.h>

#define FRACTION_BITS 52
#define EXPONENT_BIAS 1023
#define FIRST_OCTAVE ((uint64_t)-BP_LOG16_MIN_EXPONENT << FRACTION_BITS)

/* POWERS[k] = 2^(k / 228), correctly rounded. */
/* clang-format off */
static const double POWERS[BP_LOG16_PER_OCTAVE + 1] = {
    0x1.0000000000000p0, 0x1.00c78a587731cp0, 0x1.018fb0394eb04p0, 0x1.0258721bc18bcp0,
    0x1.0321d0796952bp0, 0x1.03ebcbcc3e5bbp0, 0x1.04b6648e980f7p0, 0x1.05819b3b2d328p0,
    0x1.064d704d142ffp0, 0x1.0719e43fc363cp0, 0x1.07e6f78f1165ap0, 0x1.08b4aab735540p0,
    0x1.0982fe34c71f4p0, 0x1.0a51f284bfd56p0, 0x1.0b21882479ed4p0, 0x1.0bf1bf91b192fp0,
    0x1.0cc2994a84f3dp0, 0x1.0d9415cd748abp0, 0x1.0e663599636ccp0, 0x1.0f38f92d97963p0,
    0x1.100c6109ba377p0, 0x1.10e06dadd8026p0, 0x1.11b51f9a61780p0, 0x1.128a77502b364p0,
    0x1.136075506e45cp0, 0x1.14371a1cc8688p0, 0x1.150e66373c681p0, 0x1.15e65a2232647p0,
    0x1.16bef66078231p0, 0x1.17983b75415e1p0, 0x1.187229e42813ap0, 0x1.194cc2312cd5bp0,
    0x1.1a2804e0b71a2p0, 0x1.1b03f277958abp0, 0x1.1be08b7afe559p0, 0x1.1cbdd0708f7e1p0,
    0x1.1d9bc1de4f2d8p0, 0x1.1e7a604aac046p0, 0x1.1f59ac3c7d6c0p0, 0x1.2039a63b03e7dp0,
    0x1.211a4ecde9679p0, 0x1.21fba67d41998p0, 0x1.22ddadd18a3c9p0, 0x1.23c06553ab734p0,
    0x1.24a3cd8cf8169p0, 0x1.2587e7072e091p0, 0x1.266cb24c768a5p0, 0x1.27522fe7668abp0,
    0x1.28386062feff3p0, 0x1.291f444aad35bp0, 0x1.2a06dc2a4b295p0, 0x1.2aef288e1fd75p0,
    0x1.2bd82a02df93dp0, 0x1.2cc1e115ac5f6p0, 0x1.2dac4e54163bfp0, 0x1.2e97724c1b833p0,
    0x1.2f834d8c293c1p0, 0x1.306fe0a31b715p0, 0x1.315d2c203d87fp0, 0x1.324b30934a95fp0,
    0x1.3339ee8c6db98p0, 0x1.3429669c42701p0, 0x1.35199953d4ee6p0, 0x1.360a8744a277bp0,
    0x1.36fc310099b6ap0, 0x1.37ee971a1b14fp0, 0x1.38e1ba23f9148p0, 0x1.39d59ab178a83p0,
    0x1.3aca3956518d1p0, 0x1.3bbf96a6aea3ep0, 0x1.3cb5b3372e4abp0, 0x1.3dac8f9ce2b70p0,
    0x1.3ea42c6d52501p0, 0x1.3f9c8a3e78098p0, 0x1.4095a9a6c3bddp0, 0x1.418f8b3d1a8a1p0,
    0x1.428a2f98d728bp0, 0x1.43859751ca4d9p0, 0x1.4481c3003b01ep0, 0x1.457eb33ce7004p0,
    0x1.467c68a103116p0, 0x1.477ae3c63b68dp0, 0x1.487a2546b401ep0, 0x1.497a2dbd08fd5p0,
    0x1.4a7afdc44efecp0, 0x1.4b7c95f8138a9p0, 0x1.4c7ef6f45d645p0, 0x1.4d822155aced3p0,
    0x1.4e8615b8fc828p0, 0x1.4f8ad4bbc0dd5p0, 0x1.50905efbe9714p0, 0x1.5196b517e0ccbp0,
    0x1.529dd7ae8cf83p0, 0x1.53a5c75f4fd72p0, 0x1.54ae84ca07883p0, 0x1.55b8108f0ec5ep0,
    0x1.56c26b4f3d482p0, 0x1.57cd95abe8255p0, 0x1.58d99046e2344p0, 0x1.59e65bc27c6e0p0,
    0x1.5af3f8c186506p0, 0x1.5c0267e74e407p0, 0x1.5d11a9d7a1ed6p0, 0x1.5e21bf36ceb3ep0,
    0x1.5f32a8a9a2019p0, 0x1.604466d569b8bp0, 0x1.6156fa5ff4948p0, 0x1.626a63ef928d7p0,
    0x1.637ea42b153e3p0, 0x1.6493bbb9d0485p0, 0x1.65a9ab4399b9dp0, 0x1.66c07370ca730p0,
    0x1.67d814ea3e8c0p0, 0x1.68f0905955bb7p0, 0x1.6a09e667f3bcdp0, 0x1.6b2417c080b77p0,
    0x1.6c3f250de9a5cp0, 0x1.6d5b0efba0bcbp0, 0x1.6e77d6359dd3cp0, 0x1.6f957b685eccep0,
    0x1.70b3ff40e7fd2p0, 0x1.71d3626cc4958p0, 0x1.72f3a59a070bep0, 0x1.7414c9774984ap0,
    0x1.7536ceb3ae3c4p0, 0x1.7659b5fedff1ap0, 0x1.777d800912501p0, 0x1.78a22d83025a8p0,
    0x1.79c7bf1df6d62p0, 0x1.7aee358bc0b62p0, 0x1.7c15917ebb870p0, 0x1.7d3dd3a9cddafp0,
    0x1.7e66fcc069b61p0, 0x1.7f910d768cfb0p0, 0x1.80bc0680c1d81p0, 0x1.81e7e8941f348p0,
    0x1.8314b466491e5p0, 0x1.84426aad71382p0, 0x1.85710c205727ap0, 0x1.86a0997649043p0,
    0x1.87d1136723c60p0, 0x1.89027aab53b56p0, 0x1.8a34cffbd4da7p0, 0x1.8b681412336d5p0,
    0x1.8c9c47a88c463p0, 0x1.8dd16b798d4e6p0, 0x1.8f07804075f15p0, 0x1.903e86b9178dep0,
    0x1.91767f9fd5e81p0, 0x1.92af6bb1a79b7p0, 0x1.93e94bac168d5p0, 0x1.9524204d405f8p0,
    0x1.965fea53d6e3dp0, 0x1.979caa7f208f2p0, 0x1.98da618ef8ed9p0, 0x1.9a191043d116ap0,
    0x1.9b58b75eb0219p0, 0x1.9c9957a1339acp0, 0x1.9ddaf1cd8ff85p0, 0x1.9f1d86a691105p0,
    0x1.a06116ef9a8e8p0, 0x1.a1a5a36ca86acp0, 0x1.a2eb2ce24f5f8p0, 0x1.a431b415bd615p0,
    0x1.a57939ccba15ep0, 0x1.a6c1becda74c0p0, 0x1.a80b43df8173bp0, 0x1.a955c9c9e016cp0,
    0x1.aaa15154f651ap0, 0x1.abeddb49934ccp0, 0x1.ad3b687122b5fp0, 0x1.ae89f995ad3adp0,
    0x1.afd98f81d902cp0, 0x1.b12a2b00ea29dp0, 0x1.b27bccdec33bdp0, 0x1.b3ce75e7e5b01p0,
    0x1.b52226e97264cp0, 0x1.b676e0b12a1bbp0, 0x1.b7cca40d6df6ap0, 0x1.b92371cd3ff45p0,
    0x1.ba7b4ac0436dfp0, 0x1.bbd42fb6bd94fp0, 0x1.bd2e218195f11p0, 0x1.be8920f256defp0,
    0x1.bfe52edb2e0efp0, 0x1.c1424c0eed048p0, 0x1.c2a0796109961p0, 0x1.c3ffb7a59e6cap0,
    0x1.c56007b16b84ep0, 0x1.c6c16a59d6af7p0, 0x1.c823e074ec129p0, 0x1.c9876ad95eab9p0,
    0x1.caec0a5e88d0ep0, 0x1.cc51bfdc6cb4ap0, 0x1.cdb88c2bb4e75p0, 0x1.cf207025b4db3p0,
    0x1.d0896ca46967bp0, 0x1.d1f38282794dbp0, 0x1.d35eb29b35bbfp0, 0x1.d4cafdca9ad39p0,
    0x1.d63864ed502ddp0, 0x1.d7a6e8e0a9615p0, 0x1.d9168a82a6885p0, 0x1.da874ab1f4c73p0,
    0x1.dbf92a4deed33p0, 0x1.dd6c2a369d79ap0, 0x1.dee04b4cb8281p0, 0x1.e0558e71a573bp0,
    0x1.e1cbf4877ba2ap0, 0x1.e3437e7101344p0, 0x1.e4bc2d11ad6adp0, 0x1.e636014da8d54p0,
    0x1.e7b0fc09cdd96p0, 0x1.e92d1e2ba93e5p0, 0x1.eaaa68997ab7dp0, 0x1.ec28dc3a35716p0,
    0x1.eda879f5809aap0, 0x1.ef2942b3b7f31p0, 0x1.f0ab375dec574p0, 0x1.f22e58dde44dbp0,
    0x1.f3b2a81e1c94ap0, 0x1.f5382609c8b00p0, 0x1.f6bed38cd377dp0, 0x1.f846b193dfa73p0,
    0x1.f9cfc10c486bap0, 0x1.fb5a02e421f4cp0, 0x1.fce5780a3a048p0, 0x1.fe72216e187fep0,
    0x1.0000000000000p1,
};
/* clang-format on */

static const double HALF_STEP = 0x1.0063b1c2bf915p0; /* 2^(1 / 456): nearest in the logarithm */

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The largest k with POWERS[k] <= mantissa, for 1 <= mantissa < 2. */
static uint32_t index_of(double mantissa) {
    /* log2(1 + f) to 0.03 steps: a guess that is one off at most, made exact without a branch. */
    const double f = mantissa - 1.0;
    const double bend = 0.438725310 + f * (-0.239056548 + f * 0.082129319);
    uint32_t k = (uint32_t)(BP_LOG16_PER_OCTAVE * (f + bend * f * (1.0 - f)));
    k -= POWERS[k] > mantissa;
    k += POWERS[k + 1] <= mantissa;
    return k;
}

uint16_t bp_log16_encode(double value) {
    const double magnitude = fabs(value);
    if (isnan(magnitude)) return BP_LOG16_NAN;
    if (isinf(magnitude)) return BP_LOG16_INF;
    if (magnitude == 0.0) return BP_LOG16_ZERO;
    if (magnitude <= 0x1p-152) return BP_LOG16_FIRST;
    if (magnitude >= 0x1p134) return BP_LOG16_LAST;
    const uint64_t bits = bits_of(magnitude * HALF_STEP);
    const int exponent = (int)(bits >> FRACTION_BITS) - EXPONENT_BIAS;
    const uint64_t fraction = bits & (((uint64_t)1 << FRACTION_BITS) - 1);
    const double mantissa = double_of(fraction | (uint64_t)EXPONENT_BIAS << FRACTION_BITS);
    const uint32_t octave = (uint32_t)(exponent - BP_LOG16_MIN_EXPONENT);
    return (uint16_t)(BP_LOG16_FIRST + octave * BP_LOG16_PER_OCTAVE + index_of(mantissa));
}

double bp_log16_decode(uint16_t code) {
    if (code == BP_LOG16_ZERO) return 0.0;
    if (code == BP_LOG16_INF) return (double)INFINITY;
    if (!bp_log16_is_valid(code) || code == BP_LOG16_NAN) return (double)NAN;
    const uint32_t index = (uint32_t)code - BP_LOG16_FIRST;
    const int exponent = (int)(index / BP_LOG16_PER_OCTAVE) + BP_LOG16_MIN_EXPONENT;
    const uint64_t scale = (uint64_t)(exponent + EXPONENT_BIAS) << FRACTION_BITS;
    return POWERS[index % BP_LOG16_PER_OCTAVE] * double_of(scale);
}

static uint32_t load_u16(const uint8_t *bytes) {
    uint16_t value;
    memcpy(&value, bytes, sizeof value); /* little endian, as all our platforms are */
    return value;
}

/* As bp_log16_decode, with what is rare kept out of the way. */
bool bp_log16_decode_all(double *values, const uint8_t *codes, size_t n) {
    bool good = true;
    for (size_t i = 0; i < n; i++) {
        const uint32_t code = load_u16(codes + 2 * i), index = code - BP_LOG16_FIRST;
        if (index > BP_LOG16_LAST - BP_LOG16_FIRST) {
            good = good && bp_log16_is_valid((uint16_t)code);
            values[i] = bp_log16_decode((uint16_t)code);
            continue;
        }
        const uint32_t octave = index * 0x11f7u >> 20; /* / BP_LOG16_PER_OCTAVE, below 2^16 */
        const uint64_t power = bits_of(POWERS[index - octave * BP_LOG16_PER_OCTAVE]);
        values[i] = double_of(power + ((uint64_t)octave << FRACTION_BITS) - FIRST_OCTAVE);
    }
    return good;
}

void bp_log16_fill_table(double table[BP_LOG16_CODES]) {
    for (uint32_t code = 0; code < BP_LOG16_CODES; code++)
        table[code] = bp_log16_decode((uint16_t)code);
}

bool bp_log16_decode_by(const double *table, double *values, const uint8_t *codes, size_t n) {
    size_t n_bad = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t code = load_u16(codes + 2 * i);
        n_bad += code - (BP_LOG16_LAST + 1) < BP_LOG16_INF - (BP_LOG16_LAST + 1);
        values[i] = table[code];
    }
    return n_bad == 0;
}
