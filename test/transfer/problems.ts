import type { Problem } from '../../src/transfer/problems.ts'
import { printable } from '../../src/util/printable.ts'

/** A problem as one line. */
export const problemText = ({ path, message }: Problem): string => `${printable(path)}: ${message}`
