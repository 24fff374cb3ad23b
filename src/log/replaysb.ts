import type { Device } from '../device/device.ts'
import { AG_SECTORS, AGF_MAGIC, AGI_MAGIC, Agf, Agi, countAg } from '../format/ag.ts'
import { BASIC_BLOCK, type Geometry, geometryOf } from '../format/geometry.ts'
import { Superblock } from '../format/sb.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { stamp } from '../format/verify/stamp.ts'
import { checkSuperblock } from '../format/verify/superblock.ts'
import { viewOf } from '../util/view.ts'

/**
 * After a replay, in the superblock: the counters, which are only logged now and then, are counted
 * from the headers of the AGs. If a header is damaged, they stay as they are.
 *
 * @source fs/xfs/xfs_ag.c (xfs_initialize_perag_data)
 */
export function settleSuperblock(device: Device): void {
  const first = new Uint8Array(Superblock.size)
  device.read(first, 0)
  // The replay may have changed it: the filesystem may have grown.
  const sb = Superblock.decode(viewOf(first))
  if (checkSuperblock(sb) !== undefined) return
  const geometry = geometryOf(sb)
  const bytes = new Uint8Array(geometry.sectsize)
  device.read(bytes, 0)
  const view = viewOf(bytes)
  const counters = counted(device, geometry)
  if (counters) Superblock.encode(view, 0, counters)
  stamp(blockTypes.sb, view, { geometry, daddr: 0 })
  device.write(bytes, 0)
}

/** @returns undefined if a header is damaged */
function counted(device: Device, geometry: Geometry): Pick<Superblock, 'fdblocks' | 'icount' | 'ifree'> | undefined {
  const sum = { fdblocks: 0, icount: 0, ifree: 0 }
  const header = (agno: number, sector: number): DataView => {
    const bytes = new Uint8Array(geometry.sectsize)
    device.read(bytes, geometry.agHeaderDaddr(agno, sector) * BASIC_BLOCK)
    return viewOf(bytes)
  }
  for (let agno = 0; agno < geometry.agcount; agno++) {
    const [agf, agi] = [header(agno, AG_SECTORS.agf), header(agno, AG_SECTORS.agi)]
    if (Agf.fields.magicnum.get(agf, 0) !== AGF_MAGIC || Agi.fields.magicnum.get(agi, 0) !== AGI_MAGIC) return undefined
    countAg(sum, agf, agi)
  }
  return sum
}
