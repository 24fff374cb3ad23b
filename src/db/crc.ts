import { getopt } from '../util/getopt.ts'
import { bitsOf, itemsIn, partsOf } from './fields.ts'
import type { FieldItem } from './layout/items.ts'
import { printItems } from './print.ts'
import { type DbSession, Refusal } from './session.ts'
import { getBits, numberBytes, setBits } from './write.ts'

/** `crc`: verify (-v), invalidate (-i) or recalculate (-r) the checksum of the place. */
export function crc(session: DbSession, words: readonly string[]): void {
  const { kind, geometry } = session
  const { program, readOnly, expert } = session.options
  if (!kind) throw new Refusal('no current type')
  if (!kind.type) throw new Refusal(`current type (${kind.name}) is not a structure`)
  const { letters, faults } = getopt(words, 'irv')
  if (faults.length > 0) throw new Refusal('bad option for crc command')
  if (letters.size > 1) throw new Refusal('crc command accepts only one option')
  const invalidate = letters.has('i')
  const recalculate = letters.has('r')
  if ((invalidate || recalculate) && (readOnly || !expert))
    throw new Refusal(`${program} not in expert mode, writing disabled`)
  const parts = partsOf(kind, session.view(), geometry)
  const field = [...itemsIn({ form: 'group', group: parts })].find(
    (item): item is FieldItem => item.form === 'field' && item.field.kind === 'crc32c',
  )
  const bits = field && bitsOf(field)
  if (!field || !bits) throw new Refusal(`No CRC field found for type ${kind.name}`)
  if (invalidate) {
    session.caption('Invalidating CRC:')
    const view = session.view()
    const wrong = numberBytes(getBits(view, bits) + 1n, 32).reverse()
    setBits(view, bits, wrong)
    session.store('raw')
  } else if (recalculate) {
    session.caption('Recalculating CRC:')
    session.store('sound')
  } else session.caption('Verifying CRC:')
  printItems(session, [field])
}
