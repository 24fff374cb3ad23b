import { spawnSync } from 'node:child_process'
import { basename, isAbsolute } from 'node:path'
import { runLine } from '../../src/db/commands.ts'
import { openImage } from '../../src/db/image.ts'
import { DbSession, type DbSessionOptions } from '../../src/db/session.ts'
import type { Device } from '../../src/device/device.ts'
import { openFile } from '../../src/device/file.ts'
import { newest, skip } from '../support/oracles.ts'
import { reference } from '../support/reference.ts'

/** The same commands in a session of ours and in one of xfs_db. */

export interface SessionRun {
  readonly expert?: boolean
  readonly json?: boolean
  readonly readOnly?: boolean
}

export interface Ran {
  readonly out: string
  readonly warnings: string
  readonly exitCode: number
}

/** Run commands on a device. */
export function onDevice(device: Device, commands: readonly string[], run: SessionRun = {}): Ran {
  const { geometry } = openImage(device, { force: true })
  const parts: string[] = []
  const warnings: string[] = []
  const options: DbSessionOptions = {
    device,
    geometry,
    program: 'xfs_db',
    image: 'image',
    expert: run.expert === true,
    readOnly: run.readOnly === true,
    json: run.json === true,
    print: (text) => parts.push(text),
    warn: (text) => warnings.push(text),
    lines: () => undefined,
  }
  const session = new DbSession(options)
  for (const command of commands) if (runLine(session, command) === 'quit') break
  return { out: parts.join(''), warnings: warnings.join(''), exitCode: session.exitCode }
}

/** Run commands on an image file. */
export function ours(image: string, commands: readonly string[], run: SessionRun = {}): Ran {
  const device = openFile(image, run.expert === true && run.readOnly !== true ? 'rw' : 'r')
  try {
    return onDevice(device, commands, run)
  } finally {
    device.close()
  }
}

/** The same with xfs_db, or its recorded output if it is missing. */
export function theirs(image: string, commands: readonly string[], run: SessionRun = {}): Ran {
  const flags = [
    ...(run.expert === true ? ['-x'] : []),
    ...(run.readOnly === true || run.expert !== true ? ['-r'] : []),
  ]
  return theirRun([...flags, ...commands.flatMap((command) => ['-c', command]), image])
}

/** Run xfs_db with these arguments, of which the last is the image. */
export function theirRun(args: readonly string[], input?: string): Ran {
  const question = JSON.stringify([
    args.map((word) => (isAbsolute(word) ? basename(word) : word)),
    input?.replace(/\/\S+\//g, ''),
  ])
  return reference(skip.newest === false, question, () => {
    const { status, stdout, stderr, error } = spawnSync(newest.db, args, {
      encoding: 'latin1',
      maxBuffer: 2 ** 29,
      timeout: 60_000,
      ...(input !== undefined && { input }),
    })
    if (error) throw error
    return { out: stdout, warnings: stderr, exitCode: status ?? -1 }
  })
}

/** The first line in which two texts differ, with its context. */
export function firstDifference(left: string, right: string): string | undefined {
  if (left === right) return undefined
  const [a, b] = [left.split('\n'), right.split('\n')]
  const at = a.findIndex((line, i) => line !== b[i])
  const place = at < 0 ? a.length : at
  const around = a.slice(Math.max(0, place - 3), place).join('\n')
  return `line ${place + 1}, after\n${around}\nours:   ${a[place]}\ntheirs: ${b[place]}`
}
