import type { Geometry } from '../format/geometry.ts'

/** What mkfs.xfs (and xfs_info) print about a filesystem, line by line. @source libfrog/fsgeom.c */
export function geometryReport({ sb, features, blocksize, dirblocksize }: Geometry, name: string): string[] {
  const has = (feature: Parameters<typeof features.has>[0]): number => (features.has(feature) ? 1 : 0)
  const stripe = sb.logsunit > 1 ? sb.logsunit / blocksize : 0
  const log = sb.logstart === 0 ? 'external' : 'internal log'
  return [
    `meta-data=${pad(name, 22)} isize=${pad(sb.inodesize, 6)} agcount=${sb.agcount}, agsize=${sb.agblocks} blks`,
    `         =${pad('', 22)} sectsz=${pad(sb.sectsize, 5)} attr=${has('attr2') === 1 ? 2 : has('attr')}, projid32bit=${has('projid32')}`,
    `         =${pad('', 22)} crc=${pad(has('crc'), 8)} finobt=${has('finobt')}, sparse=${has('sparse')}, rmapbt=${has('rmapbt')}`,
    `         =${pad('', 22)} reflink=${pad(has('reflink'), 4)} bigtime=${has('bigtime')} inobtcount=${has('inobtcount')} nrext64=${has('nrext64')}`,
    `         =${pad('', 22)} exchange=${pad(has('exchange'), 3)} metadir=${has('metadir')}`,
    `data     =${pad('', 22)} bsize=${pad(blocksize, 6)} blocks=${sb.dblocks}, imaxpct=${sb.imax_pct}`,
    `         =${pad('', 22)} sunit=${pad(sb.unit, 6)} swidth=${sb.width} blks`,
    `naming   =version ${pad(2, 14)} bsize=${pad(dirblocksize, 6)} ascii-ci=${has('asciici')}, ftype=${has('ftype')}, parent=${has('parent')}`,
    `log      =${pad(log, 22)} bsize=${pad(blocksize, 6)} blocks=${sb.logblocks}, version=${has('logv2') === 1 ? 2 : 1}`,
    `         =${pad('', 22)} sectsz=${pad(sb.logsectsize || 512, 5)} sunit=${stripe} blks, lazy-count=${has('lazysbcount')}`,
    `realtime =${pad('none', 22)} extsz=${pad(sb.rextsize * blocksize, 6)} blocks=${sb.rblocks}, rtextents=${sb.rextents}`,
    `         =${pad('', 22)} rgcount=${pad(sb.rgcount, 4)} rgsize=${sb.rgextents} extents`,
    `         =${pad('', 22)} zoned=${pad(has('zoned'), 6)} start=${sb.rtstart} reserved=${sb.rtreserved}`,
  ]
}

/** C's %-Ns, which counts bytes. */
function pad(value: string | number, width: number): string {
  const text = String(value)
  return text + ' '.repeat(Math.max(0, width - new TextEncoder().encode(text).length))
}
