import type { Device } from '../device/device.ts'
import { pathsOf } from '../namespace/paths.ts'
import { Volume } from '../volume.ts'
import type { Finding } from './problems.ts'
import type { CheckResult } from './result.ts'

/**
 * Add to findings about inodes the paths of these, where they can be found on the device. The tree
 * is walked at most once for all results.
 */
export function addPaths(device: Device, ...results: readonly CheckResult[]): void {
  const lists = results.map(({ findings }) => findings.list)
  const inos = new Set(lists.flatMap((list) => list.map(inodeOf).filter((ino) => ino !== undefined)))
  if (inos.size === 0) return
  const paths = pathsOf(Volume.open(device, { needsRepair: true }), inos)
  for (const list of lists) {
    for (const [i, finding] of list.entries()) {
      const path = paths.get(inodeOf(finding) ?? -1)
      if (path) list[i] = { ...finding, path }
    }
  }
}

const inodeOf = ({ facts: { ino } }: Finding): number | undefined => (typeof ino === 'number' ? ino : undefined)
