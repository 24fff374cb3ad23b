import type { ByteOrder } from '../format/hostorder.ts'
import { EfiLogFormat, type LogItemType, LogItemTypes, logItems } from '../format/logitems.ts'
import { viewOf } from '../util/view.ts'
import { logError } from './operations.ts'
import type { LogPosition } from './ring.ts'
import type { LoggedItem } from './transactions.ts'

/** An intent of the log without its done item: work that recovery has to finish. */
export interface OpenIntent {
  readonly kind: LogItemType
  /** The same in its done item. */
  readonly id: string
  readonly order: ByteOrder
  /** Of the transaction with the intent. */
  readonly lsn: LogPosition
  readonly regions: readonly Uint8Array[]
}

const kinds = new Map(Object.entries(LogItemTypes).map(([kind, code]) => [code as number, kind as LogItemType]))
/** For each done item the intent. */
const intentOf = new Map(
  Object.entries(logItems).flatMap(([kind, { done }]) => (done === undefined ? [] : [[done, kind as LogItemType]])),
)
/** The id has the same place in intents and in done items. */
const { id: idField } = EfiLogFormat.big.fields

/** The intents without done items, in the order of the log. */
export class OpenIntents {
  readonly #open = new Map<string, OpenIntent>()

  /** @throws XfsError CORRUPT if the item is too short */
  add({ type, order, regions }: LoggedItem, lsn: LogPosition): void {
    const kind = kinds.get(type)
    if (kind === undefined) return
    const intent = intentOf.get(kind)
    const begins = logItems[kind]?.done !== undefined
    if (!begins && intent === undefined) return
    const view = viewOf(regions[0] as Uint8Array)
    if (view.byteLength < idField.offset + idField.size) throw logError(`an item ${kind} has ${view.byteLength} bytes`)
    const { hi, lo } = EfiLogFormat[order].fields.id.get(view, 0)
    const id = `${hi.toString(16)}:${lo.toString(16)}`
    if (begins && this.#open.has(`${kind} ${id}`)) throw logError(`the intent ${kind} ${id} is logged twice`)
    if (begins) this.#open.set(`${kind} ${id}`, { kind, id, order, lsn, regions })
    else this.#open.delete(`${intent} ${id}`)
  }

  get all(): readonly OpenIntent[] {
    return [...this.#open.values()]
  }
}
