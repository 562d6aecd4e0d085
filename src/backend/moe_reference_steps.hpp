#pragma once
// The steps of the layer's oracle, each with what a right layer's numbers may differ: moe_reference.cpp puts them
// together.

#include <cstdint>
#include <span>
#include <vector>

#include "backend/interval.hpp"
#include "expertile/moe_layer.hpp"

namespace expertile {

// To float32, and by way of it to the nearest number of the type; float16 and float32 overflow to infinity.
[[nodiscard]] double rounded_to_float32(double x);
[[nodiscard]] double rounded_to(ElementType type, double x);

// A row of a product's A: element k is elements[k] * scales[k / block]. One scale of 1 where nothing is quantised.
struct Row {
  std::vector<Interval> elements;  // [K]
  std::vector<Interval> scales;    // [ceil(K / block)]
  std::int64_t block = 1;
};

// x as the product takes it: rounded to the hidden type, or quantised as the product's dtype and scales say.
[[nodiscard]] Row input_row(const Problem& product, ElementType hidden, const std::vector<Interval>& x,
                            std::span<const float> input_scales, std::int64_t expert);

// One expert's weights, as the layer's arguments have them.
struct ExpertWeights {
  ConstMatrixView weights{};
  std::span<const float> scales{};
  std::int64_t expert = 0;
};
// [rows][N], rounded to the hidden type.
[[nodiscard]] std::vector<std::vector<Interval>> product(const Problem& problem, const ExpertWeights& b,
                                                         const std::vector<Row>& rows, ElementType hidden,
                                                         double sum_error);

// Limit and activation, not rounded. up is not looked at where the activation has no gate.
[[nodiscard]] Interval activated(const MoeProblem& problem, const Interval& gate, const Interval& up);

// What a float32 sum of so many terms, each the product of a router weight and a sum of two, errs.
[[nodiscard]] double slack_of_terms(std::size_t terms, double magnitude);

}  // namespace expertile
