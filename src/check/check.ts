import type { Device } from '../device/device.ts'
import { isSalvage, type Salvage, salvage } from '../device/salvage.ts'
import { XfsError } from '../errors.ts'
import type { Geometry } from '../format/geometry.ts'
import type { LogHead } from '../format/lsn.ts'
import type { Roots } from '../roots/roots.ts'
import { checkAg } from './ag.ts'
import { compareSuperblock } from './compare/counters.ts'
import { compareLinks, superblockInodes } from './compare/links.ts'
import { reportUnreadable } from './compare/unreadable.ts'
import { Facts } from './facts.ts'
import { Findings } from './findings.ts'
import { lostBlocks } from './lost.ts'
import { observeSuperblocks } from './observe/headers.ts'
import { Inodes } from './observe/inodetable.ts'
import { NameScan } from './observe/names.ts'
import type { Observation } from './observe/observation.ts'
import { observe } from './observe/observe.ts'
import { logHead } from './observe/scene.ts'
import type { AgResult, CheckResult } from './result.ts'

/**
 * Check an image: observe inodes, forks and directories, derive all other metadata from them, and
 * compare it with the image in both directions.
 *
 *   inodes, forks ─▶ owners of blocks ─▶ rmapbt, refcountbt, bnobt, cntbt, counters
 *              └───▶ chunks ──────────▶ inobt, finobt, counters
 *
 * Nothing is changed. The result is a list of findings. What cannot be read is judged as zeros, and
 * reported. An XfsError means that the image cannot be checked at all (no superblock, unknown
 * features).
 */

/**
 * Check the filesystem on `device`. If the inobt of an AG may not list all inodes, the AG is
 * scanned for inodes, and everything is observed again.
 * @param roots  how the superblock was found, if `device` is of it
 */
export function check(original: Device, geometry: Geometry, head?: LogHead, roots?: Roots): CheckResult {
  if (geometry.features.version !== 5) throw new XfsError('UNSUPPORTED', 'a V4 filesystem cannot be checked')
  const device = isSalvage(original) ? original : salvage(original, roots?.missing)
  let scan = new Set<number>()
  for (let round = 1; ; round++) {
    const { result, doubtful } = checkOnce(device, geometry, scan, head ?? logHead(device, geometry), roots)
    const more = [...doubtful].filter((agno) => !result.observation.scanned.has(agno))
    if (more.length === 0) return result
    const all = Array.from({ length: geometry.agcount }, (_, agno) => agno)
    scan = new Set(round < MAX_ROUNDS ? [...scan, ...more] : all)
  }
}

/** After this many rounds all AGs are scanned. */
const MAX_ROUNDS = 3

function checkOnce(
  device: Salvage,
  geometry: Geometry,
  scan: ReadonlySet<number>,
  head: LogHead,
  roots: Roots | undefined,
): { result: CheckResult; doubtful: Set<number> } {
  const inodes = new Inodes(geometry)
  const facts = new Facts(inodes)
  const findings = new Findings(facts)
  const scene = { device, geometry, findings, inodes, head }
  if (roots?.restored) {
    const { agno, ...how } = roots.restored
    findings.add('sb.invalid', { ...how, from: agno })
  }
  observeSuperblocks(scene)
  if (geometry.features.has('needsrepair')) findings.add('sb.needsrepair', {})
  const names = new NameScan(scene)
  const observation = observe(scene, names, scan)
  const ags = observation.ags.map((ag) => checkAg(geometry, observation, ag, findings))
  compareSuperblock(geometry, ags, findings)
  names.readMaps(inodes)
  // If inodes are missing, the right targets of entries are unknown.
  if (!observation.blind) compareLinks(geometry, inodes, names, findings)
  reportUnreadable(geometry, device, ags, findings)
  return {
    result: { findings, facts, observation, names, ags, head },
    doubtful: doubtfulAgs(geometry, observation, ags, names),
  }
}

/**
 * AGs with inodes that the superblock or an entry refers to but that no chunk contains, or with
 * blocks in use that have no owner.
 */
function doubtfulAgs(
  geometry: Geometry,
  { inodes }: Observation,
  ags: readonly AgResult[],
  names: NameScan,
): Set<number> {
  const doubtful = new Set<number>()
  const need = (ino: number): void => {
    if (geometry.validIno(ino) && inodes.slot(ino) < 0) doubtful.add(geometry.inoAgno(ino))
  }
  const { entryIno } = names.directories
  for (let i = 0; i < entryIno.length; i++) need(entryIno.data[i] as number)
  for (const ino of superblockInodes(geometry)) need(ino)
  for (const result of ags) if (result.known && lostBlocks(result).length > 0) doubtful.add(result.ag.agno)
  return doubtful
}
