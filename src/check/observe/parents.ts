import { ParentRec } from '../../format/attr.ts'
import { f64Column, u32Column } from '../../util/columns.ts'
import { counted } from '../../util/counted.ts'
import { viewOf } from '../../util/view.ts'

/** Parent pointers: one row each, the child and what it points to. */
export class ParentPointers {
  readonly child = u32Column()
  readonly ino = f64Column()
  readonly gen = u32Column()
  /** Hash of the name. */
  readonly hash = u32Column()

  get length(): number {
    return this.child.length
  }

  /**
   * @param slot  of the child
   * @param value  of the attribute
   * @returns what is wrong with it
   */
  add(slot: number, hash: number, value: Uint8Array): string | undefined {
    if (value.length !== ParentRec.size) return `a parent pointer of ${counted(value.length, 'byte')}`
    const view = viewOf(value)
    this.child.push(slot)
    this.ino.push(ParentRec.fields.inumber.get(view, 0))
    this.gen.push(ParentRec.fields.gen.get(view, 0))
    this.hash.push(hash)
    return undefined
  }
}
