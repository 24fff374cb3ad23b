import { workerData } from 'node:worker_threads'
import { type ReadAhead, readAhead, type Shared } from './readahead.ts'

/** The worker of readahead.ts. */
const { walk, shared } = workerData as { readonly walk: ReadAhead; readonly shared: Shared }
readAhead(walk, shared)
