/** Findings of a check as sentences, and what is known of each kind of problem. */
export { describe } from '../check/findings.ts'
export { type Finding, type Problem, type ProblemId, problemIds, problemOf } from '../check/problems.ts'
export type { CheckResult } from '../check/result.ts'
