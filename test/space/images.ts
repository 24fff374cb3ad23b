import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Cursor } from '../../src/btree/cursor.ts'
import { openTree } from '../../src/btree/roots.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { Volume } from '../../src/volume.ts'
import { newest, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'

/** Small images made by mkfs.xfs, in memory. */

/** A tool of the newest xfsprogs at hand. */
export const tool = (name: 'mkfs.xfs' | 'xfs_repair' | 'xfs_db' | 'xfs_io'): string => join(dirname(newest.mkfs), name)

export const noTools = skip.newest && skip.distribution

/** What mkfs.xfs takes for a test, so that it makes images below 300 MB. */
const SMALL = { TEST_DIR: '1', TEST_DEV: '1', QA_CHECK_FS: '1' }

/** The bytes of a new image of `megabytes` MiB. */
export function makeImage(megabytes: number, ...options: string[]): Uint8Array {
  const path = join(tempDir(), 'image')
  execFileSync(tool('mkfs.xfs'), ['-q', '-f', '-d', `file,name=${path},size=${megabytes}m`, ...options], {
    env: { ...process.env, ...SMALL },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  return readFileSync(path)
}

export interface Opened {
  readonly device: Device
  readonly volume: Volume
}

export function open(image: Uint8Array): Opened {
  const device = memoryDevice(image.length, image.slice())
  return { device, volume: Volume.open(device, { write: true }) }
}

/** The bytes of a device. */
export function content(device: Device): Uint8Array {
  const bytes = new Uint8Array(device.size)
  device.read(bytes, 0)
  return bytes
}

/** What xfs_repair -n says: empty if all is well. */
export function repairSays(device: Device): string {
  const { status, text } = repair(device)
  return status === 0 ? '' : text
}

/** The status and the words of xfs_repair -n. */
export function repair(device: Device): { status: number | null; text: string } {
  const path = join(tempDir(), 'checked')
  writeFileSync(path, content(device))
  const run = spawnSync(tool('xfs_repair'), ['-n', '-f', '-o', 'force_geometry', path], { encoding: 'utf8' })
  return { status: run.status, text: `${run.stdout}${run.stderr}` }
}

/** All records of a tree of a group. */
export function allRecords<Rec>(
  volume: Volume,
  name: 'bnobt' | 'cntbt' | 'rmapbt' | 'refcountbt',
  agno: number,
): Rec[] {
  const cursor = new Cursor(openTree(volume, name, agno)) as unknown as Cursor<Rec, unknown>
  const list: Rec[] = []
  for (let more = cursor.first(); more; more = cursor.next()) list.push(cursor.record())
  return list
}
