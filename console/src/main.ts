// The pages' entry: theme first, so that nothing flashes, then the application.
import { mount } from 'svelte';
import './app.css';
import App from './App.svelte';
import './lib/theme.svelte';

const target = document.getElementById('app');
if (target) mount(App, { target });
