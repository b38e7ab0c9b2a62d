import workerpool from 'workerpool'
import identity from '../jobs/identity.mjs'

workerpool.worker({ identity })
