import { workerData } from 'node:worker_threads'
import { serveWrites, type WriterData } from './behind.ts'

/** The worker of behind.ts. */
serveWrites(workerData as WriterData)
