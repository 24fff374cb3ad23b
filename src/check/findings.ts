import { escapeBytes } from '../util/escape.ts'
import type { Facts } from './facts.ts'
import { type Finding, type ProblemId, problems } from './problems.ts'

/** Maximum findings of one kind that are kept; others are only counted. */
const KEPT = 200

/**
 * The findings of a check, as sentences for people, and bounded: an image can be wrong in a million
 * places. The facts are complete.
 */
export class Findings {
  readonly list: Finding[] = []
  readonly #facts: Facts
  readonly #counts = new Map<ProblemId, number>()

  constructor(facts: Facts) {
    this.#facts = facts
  }

  add(id: ProblemId, facts: Finding['facts']): void {
    this.#facts.note(id, facts)
    const count = (this.#counts.get(id) ?? 0) + 1
    this.#counts.set(id, count)
    if (count <= KEPT) this.list.push({ id, facts })
  }

  /** The number of findings of a kind, including those not kept. */
  count(id: ProblemId): number {
    return this.#counts.get(id) ?? 0
  }

  /** Number of findings not kept, by kind. */
  get omitted(): ReadonlyMap<ProblemId, number> {
    return new Map([...this.#counts].filter(([, count]) => count > KEPT).map(([id, count]) => [id, count - KEPT]))
  }

  /** The number of all findings, including those not kept. */
  get total(): number {
    let sum = 0
    for (const count of this.#counts.values()) sum += count
    return sum
  }

  has(id: ProblemId): boolean {
    return this.#counts.has(id)
  }
}

/**
 * The message of a finding: the text of its problem with the facts filled in, and with the path of
 * the inode, if it is known.
 */
export function describe({ id, facts, path }: Finding): string {
  return problems[id].text.replace(/\{(\w+)\}/g, (_, name: string) => {
    const text = String(facts[name] ?? `?${name}`)
    return name === 'ino' && path ? `${text} (${escapeBytes(path)})` : text
  })
}
