/* What lies between the matrix products of a Llama-like layer, for passes of a few tokens on a CPU.
 *
 * native.py compiles this file on the machine that it runs on, for heads of SIZE numbers of which GROUP share a key
 * head, and for one kind of number: float, or with -DBFLOAT16 bfloat16, which is stored in sixteen bits and computed
 * with as float. Tokens are packed as in attention.py; a cache is [slots, shared heads, capacity, SIZE], and token t
 * belongs at place positions[t] of slot slots[t].
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef BFLOAT16
typedef uint16_t number;
static inline float load(number stored) {
    uint32_t bits = (uint32_t)stored << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static inline number store(float value) { /* to the nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (number)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
#else
typedef float number;
static inline float load(number stored) { return stored; }
static inline number store(float value) { return value; }
#endif

enum { MANY = 8, BLOCK = 64 };

/* e^x to 1e-6 of itself, in operations that vectors have; beyond +-87 as at +-87. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x > 87.0f ? 87.0f : x;
    float whole = rintf(x * 1.442695041f);
    float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float series = 1.0f + rest * (1.0f + rest * (0.5f + rest * (1.6666667e-1f + rest * (4.1666667e-2f
                 + rest * (8.3333333e-3f + rest * 1.3888889e-3f)))));
    int32_t bits = ((int32_t)whole + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return series * power;
}

/* hidden += update where there is one; out = the RMS norm of hidden. All [tokens, size]. */
void add_norm(number *hidden, const number *update, const number *weight, number *out, long tokens, long size,
              float epsilon) {
#pragma omp parallel for if (tokens > MANY)
    for (long token = 0; token < tokens; token++) {
        number *mine = hidden + token * size, *result = out + token * size;
        if (update)
#pragma omp simd
            for (long i = 0; i < size; i++) mine[i] = store(load(mine[i]) + load(update[token * size + i]));
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (long i = 0; i < size; i++) sum += load(mine[i]) * load(mine[i]);
        float scale = 1.0f / sqrtf(sum / (float)size + epsilon);
#pragma omp simd
        for (long i = 0; i < size; i++) result[i] = store(load(mine[i]) * scale * load(weight[i]));
    }
}

/* out = silu(gate) * up, with gate and up side by side in [tokens, 2 * size]. */
void gate(const number *gate_up, number *out, long tokens, long size) {
#pragma omp parallel for if (tokens > MANY)
    for (long token = 0; token < tokens; token++) {
        const number *mine = gate_up + 2 * token * size;
#pragma omp simd
        for (long i = 0; i < size; i++) {
            float opened = load(mine[i]);
            out[token * size + i] = store(opened / (1.0f + exponential(-opened)) * load(mine[size + i]));
        }
    }
}

/* Turn the queries in place by their rotary positions; write the turned keys and the values to the cache.
 * projected is [tokens, queries + 2 * shared, SIZE]; cosines and sines are as fused.Positions gives them. */
void turn(number *projected, const number *cosines, const number *sines, number *keys, number *values,
          const int64_t *slots, const int64_t *positions, long tokens, long shared, long capacity) {
    const long queries = GROUP * shared;
    for (long token = 0; token < tokens; token++) {
        number *mine = projected + token * (queries + 2 * shared) * SIZE;
        const number *cosine = cosines + token * SIZE, *sine = sines + token * SIZE;
        for (long head = 0; head < queries + shared; head++, mine += SIZE) {
            number before[SIZE];
            memcpy(before, mine, SIZE * sizeof(number));
            long place = (slots[token] * shared + head - queries) * capacity + positions[token];
            number *to = head < queries ? mine : keys + place * SIZE;
            for (long side = 0; side < 2; side++) {
                long from = side * (SIZE / 2), other = SIZE / 2 - from;
#pragma omp simd
                for (long i = 0; i < SIZE / 2; i++)
                    to[from + i] = store(load(before[from + i]) * load(cosine[from + i])
                                         + load(before[other + i]) * load(sine[from + i]));
            }
        }
        for (long head = 0; head < shared; head++, mine += SIZE) {
            long place = (slots[token] * shared + head) * capacity + positions[token];
            memcpy(values + place * SIZE, mine, SIZE * sizeof(number));
        }
    }
}

/* The queries of one token that share a key head: softmax over blocks of the past with a running maximum. */
static void attend_one(const number *query, const number *keys, const number *values, number *out, long first,
                       long last, float scale) {
    float wanted[GROUP][SIZE], sums[GROUP][SIZE] = {{0}}, highest[GROUP], mass[GROUP] = {0};
    for (long g = 0; g < GROUP; g++) {
        highest[g] = -INFINITY;
        for (long i = 0; i < SIZE; i++) wanted[g][i] = load(query[g * SIZE + i]) * scale;
    }
    for (long start = first; start < last; start += BLOCK) {
        long count = last - start < BLOCK ? last - start : BLOCK;
        float scores[GROUP][BLOCK];
        for (long p = 0; p < count; p++) {
            float key[SIZE];
            for (long i = 0; i < SIZE; i++) key[i] = load(keys[(start + p) * SIZE + i]);
            for (long g = 0; g < GROUP; g++) {
                float score = 0;
#pragma omp simd reduction(+ : score)
                for (long i = 0; i < SIZE; i++) score += wanted[g][i] * key[i];
                scores[g][p] = score;
            }
        }
        for (long g = 0; g < GROUP; g++) {
            float top = highest[g], total = 0;
            for (long p = 0; p < count; p++) top = scores[g][p] > top ? scores[g][p] : top;
            float kept = exponential(highest[g] - top);
#pragma omp simd reduction(+ : total)
            for (long p = 0; p < count; p++) total += scores[g][p] = exponential(scores[g][p] - top);
            highest[g] = top;
            mass[g] = mass[g] * kept + total;
            for (long i = 0; i < SIZE; i++) sums[g][i] *= kept;
        }
        for (long p = 0; p < count; p++) {
            float value[SIZE];
            for (long i = 0; i < SIZE; i++) value[i] = load(values[(start + p) * SIZE + i]);
            for (long g = 0; g < GROUP; g++)
#pragma omp simd
                for (long i = 0; i < SIZE; i++) sums[g][i] += scores[g][p] * value[i];
        }
    }
    for (long g = 0; g < GROUP; g++)
        for (long i = 0; i < SIZE; i++) out[g * SIZE + i] = store(sums[g][i] / mass[g]);
}

/* Each token sees its own row up to itself, with a window of w the last w; out is [tokens, queries, SIZE]. */
void attend(const number *projected, const number *keys, const number *values, number *out, const int64_t *slots,
            const int64_t *positions, long tokens, long shared, long capacity, long window, float scale) {
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (long token = 0; token < tokens; token++)
        for (long head = 0; head < shared; head++) {
            long base = (slots[token] * shared + head) * capacity * SIZE, last = positions[token] + 1;
            long first = window && last > window ? last - window : 0;
            attend_one(projected + (token * (GROUP + 2) * shared + head * GROUP) * SIZE, keys + base, values + base,
                       out + (token * shared + head) * GROUP * SIZE, first, last, scale);
        }
}
