import type { Feature, Features } from './features.ts'
import type { Superblock } from './sb.ts'

/** The reported geometry: fields of the superblock, or the kernel's answer. */
export type ReportedGeometry = Pick<
  Superblock,
  | 'blocksize' | 'rextsize' | 'agblocks' | 'agcount' | 'logblocks' | 'sectsize' | 'inodesize' | 'imax_pct' | 'dblocks' | 'rblocks' | 'rextents'
  | 'logstart' | 'unit' | 'width' | 'logsectsize' | 'dirblklog' | 'logsunit' | 'rgextents' | 'rgcount' | 'rtstart' | 'rtreserved'
> // biome-ignore format: in the order of the kernel's structure

export type ReportedFeatures = Pick<Features, 'version' | 'has' | 'names'>

/**
 * The summary that mkfs.xfs prints of a new filesystem and xfs_info of an existing one,
 * byte-identical.
 * @param name the name of the filesystem in the report: the image
 */
export function geometryReport(sb: ReportedGeometry, features: ReportedFeatures, name: string): string {
  const flag = (feature: Feature): number => (features.has(feature) ? 1 : 0)
  const v5 = features.version === 5
  const attr = features.has('attr2') ? 2 : flag('attr')
  const logSector = features.has('sector') ? sb.logsectsize : 512
  const logUnit = features.has('logv2') ? Math.floor(sb.logsunit / sb.blocksize) : 0
  const log = sb.logstart > 0 ? 'internal log' : 'external'
  const realtime = sb.rblocks === 0 ? 'none' : sb.rtstart > 0 ? 'internal' : 'external'
  const left = (value: string | number, width: number): string => String(value).padEnd(width)
  const row = (title: string, of: string, rest: string): string => `${left(title, 9)}=${left(of, 22)} ${rest}\n`
  return [
    row('meta-data', name, `isize=${left(sb.inodesize, 6)} agcount=${sb.agcount}, agsize=${sb.agblocks} blks`),
    row('', '', `sectsz=${left(sb.sectsize, 5)} attr=${attr}, projid32bit=${flag('projid32')}`),
    row(
      '',
      '',
      `crc=${left(v5 ? 1 : 0, 8)} finobt=${flag('finobt')}, sparse=${flag('sparse')}, rmapbt=${flag('rmapbt')}`,
    ),
    row(
      '',
      '',
      `reflink=${left(flag('reflink'), 4)} bigtime=${flag('bigtime')} inobtcount=${flag('inobtcount')} nrext64=${flag('nrext64')}`,
    ),
    row('', '', `exchange=${left(flag('exchange'), 3)} metadir=${flag('metadir')}`),
    row('data', '', `bsize=${left(sb.blocksize, 6)} blocks=${sb.dblocks}, imaxpct=${sb.imax_pct}`),
    row('', '', `sunit=${left(sb.unit, 6)} swidth=${sb.width} blks`),
    row(
      'naming',
      `version ${left(features.has('dirv2') ? 2 : 1, 14)}`,
      `bsize=${left(sb.blocksize * 2 ** sb.dirblklog, 6)} ascii-ci=${flag('asciici')}, ftype=${flag('ftype')}, parent=${flag('parent')}`,
    ),
    row('log', log, `bsize=${left(sb.blocksize, 6)} blocks=${sb.logblocks}, version=${features.has('logv2') ? 2 : 1}`),
    row('', '', `sectsz=${left(logSector, 5)} sunit=${logUnit} blks, lazy-count=${flag('lazysbcount')}`),
    row(
      'realtime',
      realtime,
      `extsz=${left(sb.rextsize * sb.blocksize, 6)} blocks=${sb.rblocks}, rtextents=${sb.rextents}`,
    ),
    row('', '', `rgcount=${left(sb.rgcount, 4)} rgsize=${sb.rgextents} extents`),
    row('', '', `zoned=${left(flag('zoned'), 6)} start=${sb.rtstart} reserved=${sb.rtreserved}`),
  ].join('')
}
