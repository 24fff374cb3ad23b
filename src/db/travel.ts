import { BASIC_BLOCK } from '../format/geometry.ts'
import { kindNames, kindOf } from './kinds.ts'
import { fsbnoOf, showPlace } from './locate.ts'
import { parseUnsigned } from './numbers.ts'
import { type DbSession, Refusal, RING_ENTRIES } from './session.ts'

/** The stack and the ring of places, and `type`. */

export function stack(session: DbSession): void {
  for (let i = session.stack.length - 1; i > 0; i--) {
    const place = session.stack[i]
    if (place) showPlace(session, `${i}: `, place)
  }
}

export function back(session: DbSession): void {
  const { current, tail } = session.ring
  if (current === -1) throw new Refusal('ring is empty')
  if (current === tail) throw new Refusal('no previous entries')
  session.goRing((current + RING_ENTRIES - 1) % RING_ENTRIES)
}

export function forward(session: DbSession): void {
  const { current, head } = session.ring
  if (current === -1) throw new Refusal('ring is empty')
  if (current === head) throw new Refusal('no further entries')
  session.goRing((current + 1) % RING_ENTRIES)
}

export function ring(session: DbSession, words: readonly string[]): void {
  const { entries, head, tail, current } = session.ring
  const [word] = words
  if (word !== undefined) {
    const index = Number(BigInt.asIntN(32, parseUnsigned(word) ?? 0n))
    if (index < 0 || index >= RING_ENTRIES) throw new Refusal(`invalid entry: ${index}`)
    session.goRing(index)
    return
  }
  if (current === -1) throw new Refusal('no entries in location ring.')
  session.caption('      type    bblock  bblen    fsbno     inode')
  for (let i = head; ; i = (i + RING_ENTRIES - 1) % RING_ENTRIES) {
    const entry = entries[i]
    if (entry) {
      const name = (entry.kind?.name ?? 'none').slice(0, 7).padEnd(7)
      const numbers = [
        String(entry.bb).padStart(8), String(entry.blen).padStart(5), String(fsbnoOf(session, entry.bb)).padStart(8), String(entry.ino).padStart(9),
      ] // biome-ignore format: a table
      const { bb, blen, ino, kind } = entry
      session.result(
        'ringEntry',
        {
          index: i, current: i === current, type: kind?.name ?? null, daddr: bb, length: blen * BASIC_BLOCK, fsbno: fsbnoOf(session, bb), ino: ino < 0 ? null : ino,
        },
        `${i === current ? '*' : ' '}${String(i).padStart(2)}: ${name} ${numbers.join(' ')}`,
      ) // biome-ignore format: one line
    }
    if (i === tail) break
  }
}

/** `type`: show the same place as another type. */
export function type(session: DbSession, words: readonly string[]): void {
  const { geometry, kind } = session
  const [word] = words
  if (word === undefined) {
    const names = kindNames(geometry)
    const lines = [
      kind ? `current type is "${kind.name}"` : 'no current type',
      '',
      ' supported types are:',
      ` ${names.map((name, i) => (i === 0 ? name : `${i % 8 === 0 ? '\n ' : ''}${name}`)).join(', ')}`,
    ]
    session.result('types', { type: kind?.name ?? null, types: names }, lines.join('\n'))
    return
  }
  const next = kindOf(word, geometry)
  if (!next) throw new Refusal(`no such type ${word}`)
  if (next === kind) return
  if (!kind) throw new Refusal('no current object')
  session.become(next)
}
