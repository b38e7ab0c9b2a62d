import { ThreadWorker } from 'poolifier'
import identity from '../jobs/identity.mjs'

export default new ThreadWorker(identity)
