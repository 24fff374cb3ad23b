import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cursor } from '../../src/btree/cursor.ts'
import { openTree } from '../../src/btree/roots.ts'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { Volume } from '../../src/volume.ts'
import { makeImage as makeFile, newest, skip } from '../support/oracles.ts'
import { tempDir } from '../support/temp.ts'

/** Small images made by mkfs.xfs, in memory. */

/** The bytes of a new image of `megabytes` MiB. */
export function makeImage(megabytes: number, ...options: string[]): Uint8Array {
  const path = join(tempDir(), 'image')
  makeFile(path, `${megabytes}m`, options)
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

/** The complaints of xfs_repair -n, or of our check if it is missing; empty if there are none. */
export function repairSays(device: Device): string {
  const { status, text } = repair(device)
  return status === 0 ? '' : text
}

/** Findings of our check, one per line. */
export const checkSays = (device: Device): string[] =>
  check(device, Volume.open(device).geometry).findings.list.map((finding) => `${finding.id}: ${describe(finding)}`)

/** Status and output of xfs_repair -n; those of our check if it is missing. */
export function repair(device: Device): { status: number | null; text: string } {
  if (skip.newest) {
    const findings = checkSays(device)
    return { status: findings.length > 0 ? 1 : 0, text: findings.join('\n') }
  }
  const path = join(tempDir(), 'checked')
  writeFileSync(path, content(device))
  const run = spawnSync(newest.repair, ['-n', '-f', '-o', 'force_geometry', path], { encoding: 'utf8' })
  return { status: run.status, text: `${run.stdout}${run.stderr}` }
}

/** All records of a tree of an AG. */
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
