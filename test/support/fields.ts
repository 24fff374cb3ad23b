import type { Item } from '../../src/db/layout/items.ts'
import { type DbType, dbTypes } from '../../src/db/types.ts'
import type { Field } from '../../src/format/struct.ts'
import type { BlockType } from '../../src/format/verify/blocktype.ts'

/** The type that blocks of a verifier's type have in `db`. */
export const dbTypeOf = (type: BlockType): DbType | undefined =>
  [...dbTypes.values()].find(({ blockType }) => blockType === type || blockType?.oneOf?.includes(type))

/** A field at a place. */
interface Located {
  readonly path: string
  readonly field: Field<unknown>
  readonly at: number
}

/** Every single field of the items, with those inside arrays and tables: `recs[2].startblock`. */
export function* located(items: Iterable<Item>): Generator<Located> {
  for (const item of items) {
    if (item.form === 'field') yield { path: item.path, field: item.field, at: item.at }
    else if (item.form === 'array') {
      for (let i = 0; i < item.count; i++)
        yield { path: `${item.path}[${item.first + i}]`, field: item.field, at: item.at + i * item.step }
    } else if (item.form === 'table') {
      for (let i = 0; i < item.count; i++) {
        for (const { name, field: one, delta } of item.columns) {
          yield { path: `${item.path}[${item.first + i}].${name}`, field: one, at: item.at + i * item.step + delta }
        }
      }
    }
  }
}
