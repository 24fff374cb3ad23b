import { blockCycle, LOG_RECORD_MAGIC, LogRecord } from '../format/log.ts'
import type { Printing } from './options.ts'
import { Blocks } from './record.ts'
import { hex, signed } from './text.ts'

/** The view of blocks: where records begin, and where the cycle number changes. */
export function printBlocks({ ring, options, print }: Printing): void {
  const blocks = new Blocks(ring)
  let last = 0xffffffff
  let since = 0
  for (let block = 0; block < ring.blocks; block++) {
    const view = blocks.at(block)
    if (LogRecord.fields.magicno.get(view, 0) === LOG_RECORD_MAGIC && options.noData !== true) {
      const { cycle, tail_lsn, len, num_logops } = LogRecord.decode(view)
      const tail = `${signed(tail_lsn.cycle)}:${sixDigits(signed(tail_lsn.block))}`
      const length = String(signed(len)).padStart(6)
      print(
        `${String(block).padStart(6)} HEADER Cycle ${signed(cycle)} tail ${tail} len ${length} ops ${signed(num_logops)}\n`,
      )
    }
    const cycle = blockCycle(view, 0)
    if (cycle === last) continue
    const range = `[${String(since).padStart(5, '0')} - ${String(block).padStart(5, '0')}]`
    print(`${range} Cycle 0x${hex(last).padStart(8, '0')} New Cycle 0x${hex(cycle).padStart(8, '0')}\n`)
    last = cycle
    since = block
  }
}

/** `%06d` */
const sixDigits = (value: number): string =>
  value < 0 ? `-${String(-value).padStart(5, '0')}` : String(value).padStart(6, '0')
