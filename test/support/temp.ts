import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder with package.json, wherever the compiled tests stand. */
export function repoRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('no package.json above the tests')
    folder = parent
  }
  return folder
}

const folders = new Set<string>()

/** A new folder of its own for a test, removed when the test process ends. */
export function tempDir(): string {
  if (folders.size === 0) process.once('exit', removeAll)
  const folder = mkdtempSync(join(tmpdir(), 'xfskit-test-'))
  folders.add(folder)
  return folder
}

/** Run `use` with a new folder that is removed after it. */
export function withTempDir<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'xfskit-test-'))
  try {
    return use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function removeAll(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}
