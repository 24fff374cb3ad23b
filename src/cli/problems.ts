import { type Problem, type ProblemId, problemIds, problemOf } from '../xfsimage/findings.ts'
import { UsageError } from './command.ts'

/** A kind of problem that a check finds, for people and programs. */
export interface DescribedProblem {
  readonly id: ProblemId
  readonly severity: 'error' | 'note'
  readonly fix: Problem['fix']
  /** The most that its repair loses. */
  readonly cost: string
  /** The message of a finding, with names for its values. */
  readonly message: string
}

function described(id: ProblemId): DescribedProblem {
  const { fix, cost, note, text } = problemOf(id)
  return {
    id,
    severity: note === true ? 'note' : 'error',
    fix,
    cost: cost ?? 'nothing',
    message: text.replace(/\{(\w+)\}/g, '<$1>'),
  }
}

/** Every kind of problem, in the order of the table. */
export const allProblems = (): DescribedProblem[] => problemIds.map(described)

/** One kind of problem. @throws UsageError if there is none of that name */
export function explained(id: string): DescribedProblem {
  const known = problemIds.find((one) => one === id)
  if (known === undefined) throw new UsageError(`no problem has the id ${id}; --list-problems prints all`)
  return described(known)
}

const FIXES: Readonly<Record<string, string>> = {
  patch: 'the field is corrected in place',
  clear: 'the object, which is not needed, is removed',
  rebuild: 'the structure is written anew from what is sound',
  restore: 'the value is derived from another structure',
}

/** A kind of problem as a paragraph. */
export const explanation = ({ id, severity, fix, cost, message }: DescribedProblem): string =>
  [
    id,
    `  message:  ${message}`,
    `  severity: ${severity === 'note' ? 'note: the filesystem is sound' : 'error: the filesystem is inconsistent'}`,
    `  repair:   ${fix === null ? 'none' : `${fix}: ${FIXES[fix]}`}`,
    ...(fix === null ? [] : [`  can lose: ${cost}`]),
  ].join('\n')

/** A table of all kinds. */
export function problemTable(problems: readonly DescribedProblem[]): string {
  const width = Math.max(...problems.map(({ id }) => id.length))
  return problems
    .map(({ id, severity, fix, cost, message }) =>
      [id.padEnd(width), severity.padEnd(5), (fix ?? '-').padEnd(7), cost.padEnd(9), message].join('  '),
    )
    .join('\n')
}
