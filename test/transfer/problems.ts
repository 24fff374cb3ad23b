import type { CopyProblem } from '../../src/transfer/copyproblems.ts'
import { printable } from '../../src/util/printable.ts'

/** A problem as one line. */
export const problemText = ({ path, message }: CopyProblem): string => `${printable(path)}: ${message}`
