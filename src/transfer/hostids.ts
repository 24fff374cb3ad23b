import { readFileSync } from 'node:fs'
import type { IdOf } from '../attr/acl.ts'

/**
 * IDs of the host's users and groups by name, for archives whose ACLs have names. Read on first
 * use.
 */
export function hostIds(): IdOf {
  const tables = new Map<string, ReadonlyMap<string, number>>()
  return (kind, name) => {
    const table = tables.get(kind) ?? readTable(kind === 'user' ? '/etc/passwd' : '/etc/group')
    tables.set(kind, table)
    return table.get(name)
  }
}

function readTable(file: string): ReadonlyMap<string, number> {
  try {
    const rows = readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
    return new Map(rows.flatMap(([name = '', , id = '']) => (/^\d+$/.test(id) ? [[name, Number(id)] as const] : [])))
  } catch {
    return new Map()
  }
}
