import type { InobtRec } from '../../format/btrecs.ts'
import { blockTypes } from '../../format/verify/blocktypes.ts'
import type { BtreeOps } from '../ops.ts'
import { inobt } from './inobt.ts'

/** Inode chunks with a free inode. Key: startino (an agino). */
export const finobt: BtreeOps<InobtRec, number> = {
  ...inobt,
  name: 'finobt',
  type: blockTypes.finobt,
}
